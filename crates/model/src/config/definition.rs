//! One entry of the registry.

use super::setting::{FromSetting, Setting, ValueType};
use std::marker::PhantomData;

const FELIX: &str = "FELIX_";

/// What is known of one parameter.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Felix's name of it (`VXLANPort`), or the environment variable's where Felix has none.
    pub name: &'static str,
    /// Whether it is Felix's: its variable is then `FELIX_` and the name in upper case.
    pub of_felix: bool,
    /// The field of FelixConfiguration, if it may be set there.
    pub field: Option<&'static str>,
    /// What it takes.
    pub value_type: ValueType,
    /// What it is when nobody sets it, in the environment's form; empty for "unset".
    pub default: &'static str,
    /// What it does, or what it belongs to where it is not acted on.
    pub doc: &'static str,
    /// Whether the product does something about it.
    pub acted_on: bool,
    /// A wrong value stops the program instead of giving way to the default.
    pub fatal: bool,
    /// `none` is a value, the zero of its type.
    pub takes_none: bool,
}

impl Definition {
    /// A parameter of Felix's with a field in FelixConfiguration.
    pub(super) const fn felix(
        name: &'static str,
        field: &'static str,
        value_type: ValueType,
        default: &'static str,
    ) -> Definition {
        Definition { field: Some(field), ..Definition::local(name, value_type, default) }
    }

    /// A parameter of Felix's that only the environment sets.
    pub(super) const fn local(
        name: &'static str,
        value_type: ValueType,
        default: &'static str,
    ) -> Definition {
        Definition {
            name,
            of_felix: true,
            field: None,
            value_type,
            default,
            doc: "",
            acted_on: false,
            fatal: false,
            takes_none: true,
        }
    }

    /// An environment variable of another Calico component.
    pub(super) const fn variable_named(
        name: &'static str,
        value_type: ValueType,
        default: &'static str,
    ) -> Definition {
        let local = Definition::local(name, value_type, default);
        Definition { of_felix: false, ..local }
    }

    /// The same with what it does or belongs to.
    pub(super) const fn about(self, doc: &'static str) -> Definition {
        Definition { doc, ..self }
    }

    /// The same, acted on.
    pub(super) const fn acted_on(self) -> Definition {
        Definition { acted_on: true, ..self }
    }

    /// The same, not acted on, though its value has a type already.
    pub(super) const fn not_acted_on(self) -> Definition {
        Definition { acted_on: false, ..self }
    }

    /// The same; a wrong value stops the program, and `none` is a wrong value.
    pub(super) const fn fatal(self) -> Definition {
        Definition { fatal: true, takes_none: false, ..self }
    }

    /// The same; a wrong value stops the program, and `none` means nothing at all.
    pub(super) const fn fatal_or_none(self) -> Definition {
        Definition { fatal: true, ..self }
    }

    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        if self.of_felix {
            format!("{FELIX}{}", self.name.to_ascii_uppercase())
        } else {
            self.name.to_owned()
        }
    }

    /// The value nobody had to set.
    pub fn default_setting(&self) -> Setting {
        if self.default.is_empty() {
            return Setting::Unset;
        }
        self.value_type.parse_text(self.default).unwrap_or(Setting::Unset)
    }

    /// Reads an environment variable's text.
    ///
    /// # Errors
    /// What the parameter takes instead.
    pub fn parse_variable(&self, text: &str) -> Result<Setting, String> {
        self.none(text).unwrap_or_else(|| self.value_type.parse_text(text))
    }

    /// Reads a FelixConfiguration field's value; null is unset.
    ///
    /// # Errors
    /// What the parameter takes instead.
    pub fn parse_field(&self, value: &serde_json::Value) -> Result<Setting, String> {
        let none = value.as_str().and_then(|text| self.none(text));
        none.unwrap_or_else(|| self.value_type.parse_json(value))
    }

    // `none` is the zero of Felix's parameters, except those that have none; it is a text
    // elsewhere.
    fn none(&self, text: &str) -> Option<Result<Setting, String>> {
        if !self.of_felix || !text.eq_ignore_ascii_case("none") {
            return None;
        }
        Some(if !self.takes_none {
            Err(format!("it cannot be none: it takes {}", self.value_type.describe()))
        } else {
            Ok(self.value_type.zero())
        })
    }
}

/// The name within a `FELIX_` variable, whatever its case.
pub(super) fn felix_name(variable: &str) -> Option<&str> {
    let (start, name) = variable.split_at_checked(FELIX.len())?;
    start.eq_ignore_ascii_case(FELIX).then_some(name)
}

/// A parameter the product acts on, with the Rust type of its value.
#[derive(Debug)]
pub struct Parameter<T> {
    /// Its entry.
    pub definition: Definition,
    value: PhantomData<fn() -> T>,
}

impl<T: FromSetting> Parameter<T> {
    pub(super) const fn new(definition: Definition) -> Parameter<T> {
        Parameter { definition, value: PhantomData }
    }

    /// Its value when nobody sets it.
    pub fn default_value(&self) -> T {
        T::from_setting(&self.definition.default_setting())
            .expect("each default is tested to be of its parameter's type")
    }
}
