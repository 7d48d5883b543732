//! How single values are written: pairs as two letters, `false` for a knob that is off, a scale as a number or a name.

use crate::clip::Scale;
use crate::explain::segment::Protocol;
use crate::reference::{Activation, Projection};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserialize, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// P and Q, "qk".
#[derive(Clone, Copy)]
pub(super) struct Letters(pub Projection, pub Projection);

const LETTERS: [(char, Projection); 4] =
    [('q', Projection::Query), ('k', Projection::Key), ('v', Projection::Value), ('u', Projection::UnitValue)];

impl Letters {
    fn parse(text: &str) -> Option<Letters> {
        let of = |c: char| LETTERS.iter().find(|l| l.0 == c).map(|l| l.1);
        let mut letters = text.chars();
        let pair = Letters(of(letters.next()?)?, of(letters.next()?)?);
        letters.next().is_none().then_some(pair)
    }
}

impl Serialize for Letters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = [self.0, self.1].iter().filter_map(|p| LETTERS.iter().find(|l| l.1 == *p)).map(|l| l.0).collect();
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Letters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Letters, D::Error> {
        let text = String::deserialize(deserializer)?;
        Letters::parse(&text).ok_or_else(|| {
            de::Error::custom(format!("\"{text}\" is no pair; expected two letters of q, k and v (of a ResNet's pool also u, unit values)"))
        })
    }
}

/// A knob that `false` turns off.
#[derive(Clone, Copy)]
pub(super) enum Knob<T> {
    Off,
    On(T),
}

impl<T> Knob<T> {
    pub fn of<U: Into<T>>(value: Option<U>) -> Knob<T> {
        value.map_or(Knob::Off, |v| Knob::On(v.into()))
    }

    pub fn value<U: From<T>>(self) -> Option<U> {
        match self {
            Knob::Off => None,
            Knob::On(value) => Some(value.into()),
        }
    }
}

impl<T: Serialize> Serialize for Knob<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Knob::Off => serializer.serialize_bool(false),
            Knob::On(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Knob<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Knob<T>, D::Error> {
        struct Off<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Off<T> {
            type Value = Knob<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value, or false for none")
            }
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Knob<T>, E> {
                if on { Err(E::invalid_value(de::Unexpected::Bool(true), &self)) } else { Ok(Knob::Off) }
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Knob<T>, E> {
                T::deserialize(value.into_deserializer()).map(Knob::On)
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Knob<T>, E> {
                T::deserialize(value.into_deserializer()).map(Knob::On)
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Knob<T>, E> {
                T::deserialize(value.into_deserializer()).map(Knob::On)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, values: A) -> Result<Knob<T>, A::Error> {
                T::deserialize(SeqAccessDeserializer::new(values)).map(Knob::On)
            }
            fn visit_map<A: MapAccess<'de>>(self, values: A) -> Result<Knob<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(values)).map(Knob::On)
            }
        }
        deserializer.deserialize_any(Off(PhantomData))
    }
}

/// 1.5 (times head size^-0.5), { constant = 5.0 }, "token_length".
#[derive(Clone, Copy)]
pub(super) struct Scaling(pub Scale);

impl Serialize for Scaling {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Scale::Head(times) => serializer.serialize_f32(times),
            Scale::TokenLength => serializer.serialize_str("token_length"),
            Scale::Constant(constant) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("constant", &constant)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Scaling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scaling, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Constant {
            constant: f32,
        }
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = Scaling;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number (times head size^-0.5), { constant = NUMBER } or \"token_length\"")
            }
            fn visit_i64<E: de::Error>(self, times: i64) -> Result<Scaling, E> {
                Ok(Scaling(Scale::Head(times as f32)))
            }
            fn visit_f64<E: de::Error>(self, times: f64) -> Result<Scaling, E> {
                Ok(Scaling(Scale::Head(times as f32)))
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Scaling, E> {
                match name {
                    "token_length" => Ok(Scaling(Scale::TokenLength)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(name), &self)),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, values: A) -> Result<Scaling, A::Error> {
                let Constant { constant } = Constant::deserialize(MapAccessDeserializer::new(values))?;
                Ok(Scaling(Scale::Constant(constant)))
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

/// How many of the last blocks, or "all".
#[derive(Clone, Copy)]
pub(super) struct Blocks(pub u32);

impl Serialize for Blocks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            u32::MAX => serializer.serialize_str("all"),
            blocks => serializer.serialize_u32(blocks),
        }
    }
}

impl<'de> Deserialize<'de> for Blocks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Blocks, D::Error> {
        struct Forms;
        impl Visitor<'_> for Forms {
            type Value = Blocks;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of blocks or \"all\"")
            }
            fn visit_i64<E: de::Error>(self, blocks: i64) -> Result<Blocks, E> {
                u32::try_from(blocks).map(Blocks).map_err(|_| E::invalid_value(de::Unexpected::Signed(blocks), &self))
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Blocks, E> {
                if name == "all" { Ok(Blocks(u32::MAX)) } else { Err(E::invalid_value(de::Unexpected::Str(name), &self)) }
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

/// An activation by its name.
#[derive(Clone, Copy)]
pub(super) struct ActivationName(pub Activation);

const ACTIVATIONS: [(&str, Activation); 4] =
    [("quick_gelu", Activation::QuickGelu), ("gelu", Activation::Gelu), ("relu", Activation::Relu), ("none", Activation::None)];

/// A harness by its name.
#[derive(Clone, Copy)]
pub(super) struct ProtocolName(pub Protocol);

/// What a table of names calls a value.
fn name_of<T: PartialEq>(table: &[(&'static str, T)], value: &T) -> &'static str {
    table.iter().find(|entry| entry.1 == *value).map_or("", |entry| entry.0)
}

/// What a table of names has by a name.
fn named<'de, T: Copy, D: Deserializer<'de>>(table: &[(&str, T)], what: &str, deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    table.iter().find(|entry| entry.0 == text).map(|entry| entry.1).ok_or_else(|| {
        let known: Vec<_> = table.iter().map(|entry| entry.0).collect();
        de::Error::custom(format!("\"{text}\" is no {what}; expected one of {}", known.join(", ")))
    })
}

impl Serialize for ActivationName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name_of(&ACTIVATIONS, &self.0))
    }
}

impl<'de> Deserialize<'de> for ActivationName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ActivationName, D::Error> {
        named(&ACTIVATIONS, "activation", deserializer).map(ActivationName)
    }
}

impl Serialize for ProtocolName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name_of(&Protocol::ALL, &self.0))
    }
}

impl<'de> Deserialize<'de> for ProtocolName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ProtocolName, D::Error> {
        named(&Protocol::ALL, "protocol", deserializer).map(ProtocolName)
    }
}
