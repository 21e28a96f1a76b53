//! The names in schemas of Avro files, judged quickly.
//!
//! In: a name. Out: whether the Avro specification allows it ("Names"). The library that reads and writes manifests asks a
//! regular expression for each field of each schema, again for each manifest.

use std::sync::Once;

use apache_avro::AvroResult;
use apache_avro::error::Details;
use apache_avro::schema::Namespace;
use apache_avro::validator::{
    RecordFieldNameValidator, SchemaNameValidator, set_record_field_name_validator, set_schema_name_validator,
};

/// Lets the library ask this module. It takes that once in a process, before it has judged a name.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let is_first = set_record_field_name_validator(Box::new(Names)).is_ok();
        if !(set_schema_name_validator(Box::new(Names)).is_ok() && is_first) {
            tracing::debug!("names of Avro schemas are judged by the library");
        }
    });
}

#[derive(Clone, Copy, Debug)]
struct Names;

impl RecordFieldNameValidator for Names {
    fn validate(&self, name: &str) -> AvroResult<()> {
        match is_name(name) {
            true => Ok(()),
            false => Err(Details::FieldName(name.to_owned()).into()),
        }
    }
}

impl SchemaNameValidator for Names {
    fn validate(&self, full_name: &str) -> AvroResult<(String, Namespace)> {
        let (namespace, name) = match full_name.rsplit_once('.') {
            None => (None, full_name),
            Some((namespace, name)) => (Some(namespace), name),
        };
        // An empty namespace is none, and may be written.
        let is_valid = namespace.is_none_or(|text| text.is_empty() || text.split('.').all(is_name));
        if !is_valid || !is_name(name) {
            let rule = SchemaNameValidator::regex(self).as_str();
            return Err(Details::InvalidSchemaName(full_name.to_owned(), rule).into());
        }
        Ok((name.to_owned(), namespace.map(str::to_owned)))
    }
}

/// A letter or `_`, then letters, digits and `_`, all of them ASCII.
fn is_name(text: &str) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    let is_next = |byte: &u8| is_letter(byte) || byte.is_ascii_digit();
    text.as_bytes().split_first().is_some_and(|(first, rest)| is_letter(first) && rest.iter().all(is_next))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The expressions are the library's own.
        #[test]
        fn judges_names_as_the_library_does(text in "[a-c_.0-9A-Z\u{e9}\n -]{0,12}") {
            let of_fields = RecordFieldNameValidator::regex(&Names).is_match(&text);
            prop_assert_eq!(RecordFieldNameValidator::validate(&Names, &text).is_ok(), of_fields);
            let expected = SchemaNameValidator::regex(&Names).captures(&text).map(|found| {
                let namespace = found.name("namespace").map(|namespace| namespace.as_str().to_owned());
                (found["name"].to_owned(), namespace)
            });
            prop_assert_eq!(SchemaNameValidator::validate(&Names, &text).ok(), expected);
        }

        #[test]
        fn names_with_a_namespace_are_judged_too(text in "([a-z_][a-z0-9]{0,2}\\.?){0,4}") {
            let expected = SchemaNameValidator::regex(&Names).is_match(&text);
            prop_assert_eq!(SchemaNameValidator::validate(&Names, &text).is_ok(), expected);
        }
    }
}
