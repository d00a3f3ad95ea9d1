//! Reads a TOML tree into the schema.
//!
//! serde's derived code describes a problem by calling a method of the error type. [`Problem`] keeps the
//! parts of that description, so that no message depends on the wording of a library.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, Error as _, Expected, IntoDeserializer as _, MapAccess,
    SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::key_path::KeyStep;

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The table has no such key. The known keys are those of the table.
    UnknownKey {
        /// The keys that the table has.
        known: &'static [&'static str],
    },
    /// The table lacks a key that has no default.
    MissingKey(&'static str),
    /// The value does not have the expected type.
    WrongType {
        /// The value that was found.
        found: String,
        /// The expected form.
        expected: String,
    },
    /// The value is not one of a fixed set of words.
    UnknownValue {
        /// The value that was found.
        found: String,
        /// The words of the set.
        known: &'static [&'static str],
    },
    /// The list has too few or too many elements.
    WrongLength {
        /// The number of elements.
        found: usize,
        /// The expected form.
        expected: String,
    },
    /// The type of the value refused it with this reason.
    Invalid(String),
}

/// A problem and the path of the key or value that has it.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) path: Option<Vec<KeyStep>>,
    pub(crate) problem: Problem,
}

impl Error {
    fn at(mut self, path: &[KeyStep]) -> Self {
        self.path.get_or_insert_with(|| path.to_vec());
        self
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self {
            path: None,
            problem,
        }
    }
}

/// serde requires this. `ConfigError` has the messages for the operator.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.problem)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Problem::Invalid(reason.to_string()).into()
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        wrong_type(found, expected.to_string())
    }

    fn invalid_length(found: usize, expected: &dyn Expected) -> Self {
        let expected = expected.to_string();
        Problem::WrongLength { found, expected }.into()
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        let found = found.to_owned();
        Problem::UnknownValue { found, known }.into()
    }

    fn missing_field(field: &'static str) -> Self {
        Problem::MissingKey(field).into()
    }
}

fn wrong_type(found: Unexpected<'_>, expected: impl Into<String>) -> Error {
    let found = match found {
        Unexpected::Bool(value) => format!("boolean \"{value}\""),
        Unexpected::Signed(number) => format!("integer \"{number}\""),
        Unexpected::Str(text) => format!("string {text:?}"),
        Unexpected::Seq => "list".to_owned(),
        Unexpected::Map => "table".to_owned(),
        Unexpected::Other(text) => text.to_owned(),
        other => other.to_string(),
    };
    let expected = expected.into();
    Problem::WrongType { found, expected }.into()
}

/// Reads the values of a tree, except those at the paths in `skipped`.
#[derive(Clone, Copy)]
pub(crate) struct Tree<'a> {
    pub(crate) root: &'a DeTable<'a>,
    pub(crate) skipped: &'a [Vec<KeyStep>],
}

impl<'a> Tree<'a> {
    /// Reads the whole tree.
    pub(crate) fn read<T: de::Deserialize<'a>>(self) -> Result<T, Error> {
        T::deserialize(Reader {
            value: Value::Table(self.root),
            path: Vec::new(),
            skipped: self.skipped,
        })
    }

    /// Returns the paths of all keys and list elements, except those in `skipped`.
    pub(crate) fn paths(self) -> impl Iterator<Item = Vec<KeyStep>> {
        let root = Reader {
            value: Value::Table(self.root),
            path: Vec::new(),
            skipped: self.skipped,
        };
        let mut waiting = root.children();
        std::iter::from_fn(move || {
            let next = waiting.pop()?;
            waiting.extend(next.children());
            Some(next.path)
        })
    }
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Table(&'a DeTable<'a>),
    Other(&'a DeValue<'a>),
}

/// One value and its path.
struct Reader<'a> {
    value: Value<'a>,
    path: Vec<KeyStep>,
    skipped: &'a [Vec<KeyStep>],
}

impl<'a> Reader<'a> {
    fn below(&self, step: KeyStep, value: &'a Spanned<DeValue<'a>>) -> Self {
        let mut path = self.path.clone();
        path.push(step);
        let value = match value.get_ref() {
            DeValue::Table(table) => Value::Table(table),
            other => Value::Other(other),
        };
        Self {
            value,
            path,
            skipped: self.skipped,
        }
    }

    fn found(&self) -> Unexpected<'a> {
        match self.value {
            Value::Table(_) | Value::Other(DeValue::Table(_)) => Unexpected::Map,
            Value::Other(DeValue::String(text)) => Unexpected::Str(text),
            Value::Other(DeValue::Integer(number)) => match integer(number) {
                Some(number) => Unexpected::Signed(number),
                None => Unexpected::Other("integer"),
            },
            Value::Other(DeValue::Float(_)) => Unexpected::Other("fraction"),
            Value::Other(DeValue::Boolean(value)) => Unexpected::Bool(*value),
            Value::Other(DeValue::Datetime(_)) => Unexpected::Other("date"),
            Value::Other(DeValue::Array(_)) => Unexpected::Seq,
        }
    }

    fn wrong_type(&self, expected: &str) -> Error {
        wrong_type(self.found(), expected).at(&self.path)
    }

    fn entries(&self, table: &'a DeTable<'a>) -> Vec<(&'a str, Reader<'a>)> {
        table
            .iter()
            .map(|(key, value)| {
                let key: &'a Spanned<DeString<'a>> = key;
                let key: &'a str = key.get_ref();
                (key, self.below(KeyStep::Key(key.to_owned()), value))
            })
            .filter(|(_, reader)| !reader.is_skipped())
            .collect()
    }

    fn elements(&self, list: &'a [Spanned<DeValue<'a>>]) -> Vec<Reader<'a>> {
        list.iter()
            .enumerate()
            .map(|(index, value)| self.below(KeyStep::Index(index), value))
            .filter(|element| !element.is_skipped())
            .collect()
    }

    /// The values of a table or a list. Other values have none.
    fn children(&self) -> Vec<Reader<'a>> {
        match self.value {
            Value::Table(table) | Value::Other(DeValue::Table(table)) => {
                let entries = self.entries(table).into_iter();
                entries.map(|(_, value)| value).collect()
            }
            Value::Other(DeValue::Array(list)) => self.elements(list),
            Value::Other(_) => Vec::new(),
        }
    }

    fn is_skipped(&self) -> bool {
        self.skipped.contains(&self.path)
    }
}

fn integer(number: &toml::de::DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let path = self.path.clone();
        let read = match self.value {
            Value::Table(table) | Value::Other(DeValue::Table(table)) => {
                visitor.visit_map(Entries::new(self.entries(table)))
            }
            Value::Other(DeValue::String(text)) => visitor.visit_borrowed_str(text),
            Value::Other(DeValue::Integer(number)) => match integer(number) {
                Some(number) => visitor.visit_i64(number),
                None => Err(Error::custom(format!("{number} is too large"))),
            },
            Value::Other(DeValue::Boolean(value)) => visitor.visit_bool(*value),
            Value::Other(DeValue::Array(list)) => {
                visitor.visit_seq(Elements(self.elements(list).into_iter()))
            }
            Value::Other(DeValue::Float(_) | DeValue::Datetime(_)) => {
                Err(Error::invalid_type(self.found(), &visitor))
            }
        };
        read.map_err(|error| error.at(&path))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Other(DeValue::Boolean(value)) => visitor.visit_bool(*value),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Other(DeValue::String(_)) => self.deserialize_any(visitor),
            _ => Err(self.wrong_type("a string")),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Other(DeValue::Array(_)) => self.deserialize_any(visitor),
            _ => Err(self.wrong_type("a list")),
        }
    }

    /// Reads a table that may have these keys and no others.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let (Value::Table(table) | Value::Other(DeValue::Table(table))) = self.value else {
            return Err(self.wrong_type("a table"));
        };
        let entries = self.entries(table);
        match entries.iter().find(|(key, _)| !known.contains(key)) {
            Some((_, unknown)) => Err(Error::from(Problem::UnknownKey { known }).at(&unknown.path)),
            None => visitor
                .visit_map(Entries::new(entries))
                .map_err(|error| error.at(&self.path)),
        }
    }

    /// Reads one of a fixed set of words.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Value::Other(DeValue::String(word)) = self.value else {
            return Err(self.wrong_type("a string"));
        };
        let word: StrDeserializer<'_, Error> = (**word).into_deserializer();
        visitor
            .visit_enum(word)
            .map_err(|error| error.at(&self.path))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str bytes byte_buf unit unit_struct
        newtype_struct tuple tuple_struct map identifier ignored_any
    }
}

/// The entries of a table, in the order of the file.
struct Entries<'a> {
    entries: std::vec::IntoIter<(&'a str, Reader<'a>)>,
    value: Option<Reader<'a>>,
}

impl<'a> Entries<'a> {
    fn new(entries: Vec<(&'a str, Reader<'a>)>) -> Self {
        Self {
            entries: entries.into_iter(),
            value: None,
        }
    }
}

impl<'a> MapAccess<'a> for Entries<'a> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'a>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        let key: StrDeserializer<'_, Error> = key.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Error> {
        match self.value.take() {
            Some(value) => seed_value(seed, value),
            None => Err(Error::custom("a value was read before its key")),
        }
    }
}

/// The elements of a list.
struct Elements<'a>(std::vec::IntoIter<Reader<'a>>);

impl<'a> SeqAccess<'a> for Elements<'a> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        self.0
            .next()
            .map(|element| seed_value(seed, element))
            .transpose()
    }
}

/// Reads a value. An error without a path gets the path of the value.
fn seed_value<'a, T: DeserializeSeed<'a>>(seed: T, value: Reader<'a>) -> Result<T::Value, Error> {
    let path = value.path.clone();
    seed.deserialize(value).map_err(|error| error.at(&path))
}
