//! The options of `soak`.
#![forbid(unsafe_code)]

use std::time::Duration;

use clap::Args;

use crate::units::parse_duration;

/// Options of `soak`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Soak {
    /// How often a line says how things stand
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_duration)]
    pub(crate) state_every: Duration,
    /// Does something wrong on purpose, to see that it is found
    #[arg(long, hide = true, value_enum)]
    pub(crate) plant: Option<SoakPlant>,
}

/// What can be done wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SoakPlant {
    /// A write is counted and not done.
    LostWrite,
    /// A thread stops for ever.
    Hang,
    /// Four mebibytes are lost after each turn.
    Leak,
}
