//! What is touched, and how, and on what device: the options of `overcommit` and `faults`.
#![forbid(unsafe_code)]

use std::time::Duration;

use clap::Args;

use super::overcommit::parse_factor;
use crate::{
    pattern::Pattern,
    player::paging::Plant,
    units::{parse_count, parse_duration},
};

/// What is touched, and how: options of `overcommit` and `faults`.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct Load {
    /// Order of the folios, 0 (4 KiB) to 10 (4 MiB)
    #[arg(long, value_name = "ORDER", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=10))]
    pub(crate) order: u8,
    /// Folios of several orders instead: three in four are single pages, the others up to order 4
    #[arg(long, value_name = "mixed", value_enum, conflicts_with = "order")]
    pub(crate) orders: Option<SeveralOrders>,
    /// Which folio is touched next
    #[arg(long, value_name = "NAME", value_enum, default_value = "zipf")]
    pub(crate) pattern: Pattern,
    /// How uneven zipf is, above 0 and below 1
    #[arg(long, value_name = "THETA", default_value_t = 0.99, value_parser = parse_theta)]
    pub(crate) theta: f64,
    /// Of the touches, those that write, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 20, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) write_share: u8,
    /// Of the touches, those that free the folio and allocate another, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) churn_share: u8,
    /// Does something wrong on purpose, to see that it is found
    #[arg(long, hide = true, value_enum)]
    pub(crate) plant: Option<Plant>,
}

/// What `--orders` can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum SeveralOrders {
    /// Orders 0 to 4.
    Mixed,
}

/// Options of `faults`. Rates are "one call to the device in so many"; 0 is never.
#[derive(Clone, Debug, Args)]
pub(crate) struct Faults {
    /// Size of the working set as a multiple of the pool's memory, 0.1 to 64
    #[arg(long, value_name = "NUMBER", default_value_t = 4.0, value_parser = parse_factor)]
    pub(crate) factor: f64,
    /// One call in so many fails: for good, for now, or with half of the bytes written; 0 is never
    #[arg(long, value_name = "CALLS", default_value = "10K", value_parser = parse_count)]
    pub(crate) error_rate: u64,
    /// One call in so many stalls for --stall-time; 0 is never
    #[arg(long, value_name = "CALLS", default_value = "10K", value_parser = parse_count)]
    pub(crate) stall: u64,
    /// How long a stalled call takes
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = parse_duration)]
    pub(crate) stall_time: Duration,
    /// One read in so many brings a changed byte and no error; 0 is never
    #[arg(long, value_name = "CALLS", default_value = "10K", value_parser = parse_count)]
    pub(crate) corrupt: u64,
    /// One write in so many finds no room; 0 is never
    #[arg(long, value_name = "CALLS", default_value = "10K", value_parser = parse_count)]
    pub(crate) full: u64,
    /// One write in so many is done by half, with an error or without; 0 is never
    #[arg(long, value_name = "CALLS", default_value = "10K", value_parser = parse_count)]
    pub(crate) torn: u64,
    #[command(flatten)]
    pub(crate) load: Load,
}

fn parse_theta(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(theta) if theta > 0.0 && theta < 1.0 => Ok(theta),
        _ => Err("write a number above 0 and below 1".to_owned()),
    }
}
