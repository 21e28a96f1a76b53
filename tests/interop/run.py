"""Runs the checks whose numbers are given, or all. The last line says how many passed and failed."""

import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
import counted  # noqa: E402, beside this folder


def main(numbers):
    loader = unittest.TestLoader()
    suite = unittest.TestSuite()
    for number in numbers or sorted({path.name.split("_")[1] for path in HERE.glob("check_*.py")}, key=int):
        names = [path.stem for path in HERE.glob(f"check_{number}_*.py")]
        if not names:
            sys.exit(f"there is no check {number}")
        suite.addTests(loader.loadTestsFromNames(names))
    counted.run(suite)


if __name__ == "__main__":
    main(sys.argv[1:])
