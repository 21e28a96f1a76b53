"""Reads JSON and keeps how numbers are spelled. It shares nothing with frazil: that is its worth."""

import json


class Number(str):
    """A number as the input spells it."""


def _refuse(constant):
    raise ValueError(f"{constant} is not JSON")


def read(text):
    """Raises ValueError for what is not JSON, wrong UTF-8 included."""
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=_refuse)


def text_of(value):
    """What a string column holds of a value: strings themselves, the JSON text of anything else.

    A text that is itself an array or object is compared without its white space: frazil keeps the input's, which is
    lost here once the input has been read."""
    if isinstance(value, str) and not isinstance(value, Number) and value[:1] in ("{", "["):
        try:
            return compact(read(value))
        except ValueError:
            return value
    if value is None or (isinstance(value, str) and not isinstance(value, Number)):
        return value
    return compact(value)


def compact(value):
    """The JSON text of a value that the input spells without white space and without needless escapes."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{compact(key)}:{compact(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(compact(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)
