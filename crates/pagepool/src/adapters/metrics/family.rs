//! A family of metrics: a name, what it says, and a sample for each set of labels (pure).

use std::borrow::Cow;

/// What becomes of a number as time goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It rises and falls.
    Gauge,
    /// It only rises. Its name is printed with `_total`.
    Counter,
}

/// What a number is in; the name is printed with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BaseUnit {
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Parts of a whole, 0 to 1.
    Ratio,
}

/// A number.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Value {
    /// Of things.
    Count(u64),
    /// Of time, or of parts.
    Real(f64),
}

impl From<u64> for Value {
    fn from(count: u64) -> Value {
        Value::Count(count)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Value {
        Value::Count(count as u64)
    }
}

impl From<f64> for Value {
    fn from(real: f64) -> Value {
        Value::Real(real)
    }
}

/// Names and values of labels.
pub(super) type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// A family, with a sample for each set of labels.
#[derive(Clone, Debug)]
pub(super) struct Family {
    name: Cow<'static, str>,
    help: &'static str,
    kind: Kind,
    unit: Option<BaseUnit>,
    samples: Vec<(Labels, Value)>,
}

impl Family {
    pub(super) fn gauge(name: impl Into<Cow<'static, str>>, help: &'static str) -> Family {
        Family::new(name.into(), help, Kind::Gauge)
    }

    pub(super) fn counter(name: impl Into<Cow<'static, str>>, help: &'static str) -> Family {
        Family::new(name.into(), help, Kind::Counter)
    }

    fn new(name: Cow<'static, str>, help: &'static str, kind: Kind) -> Family {
        Family {
            name,
            help: help.trim(),
            kind,
            unit: None,
            samples: vec![],
        }
    }

    /// The same in a unit.
    pub(super) fn of_unit(mut self, unit: BaseUnit) -> Family {
        self.unit = Some(unit);
        self
    }

    /// The same with further samples.
    pub(super) fn with(
        mut self,
        samples: impl IntoIterator<Item = (Labels, impl Into<Value>)>,
    ) -> Family {
        let samples = samples.into_iter();
        self.samples
            .extend(samples.map(|(labels, value)| (labels, value.into())));
        self
    }

    /// The name, without what is printed behind it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn help(&self) -> &'static str {
        self.help
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn unit(&self) -> Option<BaseUnit> {
        self.unit
    }

    pub(super) fn samples(&self) -> &[(Labels, Value)] {
        &self.samples
    }
}
