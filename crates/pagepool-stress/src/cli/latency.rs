//! The options of `latency`.
#![forbid(unsafe_code)]

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::{
    order_mix::OrderMix,
    schedule::Arrivals,
    units::{parse_count, parse_duration},
};

/// The most requests a second that can be asked for.
const FASTEST: u64 = 10_000_000;

/// Options of `latency`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Latency {
    /// Requests a second that are due, of all threads together, such as 500 or 20K
    #[arg(long, value_name = "NUMBER", default_value = "5K", value_parser = parse_rate)]
    pub(crate) rate: u64,
    /// What lies between two requests
    #[arg(long, value_name = "NAME", value_enum, default_value = "even")]
    pub(crate) arrivals: Arrivals,
    /// Which orders are asked for, with weights: order 0 is 4 KiB, order 10 is 4 MiB
    #[arg(long, value_name = "ORDER:WEIGHT,…", default_value = "0:80,1:8,2:6,3:4,4:2", value_parser = OrderMix::parse)]
    pub(crate) orders: OrderMix,
    /// Of the requests, those for raw blocks, which stay in memory, in percent; the others are for folios
    #[arg(long, value_name = "PERCENT", default_value_t = 25, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) raw_share: u8,
    /// How much is held, as a multiple of the pool's memory, 0.1 to 4; raw blocks may take up to 0.8 of the memory
    #[arg(long, value_name = "NUMBER", default_value_t = 1.2, value_parser = parse_fill)]
    pub(crate) fill: f64,
    /// Write an HdrHistogram interval log to this file, with the tags latency and service
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// How long an interval of the log is
    #[arg(long, value_name = "TIME", requires = "log", default_value = "1s", value_parser = parse_duration)]
    pub(crate) log_interval: Duration,
}

fn parse_rate(text: &str) -> Result<u64, String> {
    match parse_count(text)? {
        rate if (1..=FASTEST).contains(&rate) => Ok(rate),
        _ => Err("write 1 to 10M requests a second".to_owned()),
    }
}

fn parse_fill(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(fill) if (0.1..=4.0).contains(&fill) => Ok(fill),
        _ => Err("write a number from 0.1 to 4".to_owned()),
    }
}
