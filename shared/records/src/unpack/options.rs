//! What of a record is an event, where that is a matter of choice.
//!
//! In: the choices of whoever runs the pipeline. Out: [`Options`]; without any, values pass as they are.

use crate::field_path::FieldPath;

/// How events are taken out of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `FRAZIL_UNWRAP`: where an object has an array of objects, each element of which is an event. The object's other
    /// fields are beside it.
    pub unwrap: Option<FieldPath>,
    /// `FRAZIL_NAN=null`: `NaN`, `Infinity` and `-Infinity` are null, as far as they are no text.
    pub nan_is_null: bool,
    /// `FRAZIL_DYNAMODB_JSON=true`: images of DynamoDB are plain values.
    pub dynamodb_json: bool,
    /// `FRAZIL_LOG_MESSAGE=fields`: a log event of CloudWatch Logs whose message is a JSON object has its fields instead.
    pub log_fields: bool,
    /// `FRAZIL_TEXT=message`: a line of text that is no JSON is an event `{"message": "..."}`.
    pub text_is_message: bool,
}
