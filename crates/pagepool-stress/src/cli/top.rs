//! The options of `top`.
#![forbid(unsafe_code)]

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::units::parse_duration;

/// Options of `top`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Top {
    /// The socket at which the pool is served [default: the only one in the folder that --serve auto uses]
    #[arg(value_name = "PATH", conflicts_with = "pid")]
    pub(crate) path: Option<PathBuf>,
    /// The process whose pool to show, which serves it with --serve auto, or `serve_as`
    #[arg(long, value_name = "NUMBER")]
    pub(crate) pid: Option<u32>,
    /// Print one snapshot as text, and end; so it is where standard output is no terminal
    #[arg(long)]
    pub(crate) once: bool,
    /// How often the pool is asked, 50ms to 1h [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = parse_interval)]
    pub(crate) interval: Option<Duration>,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let accepted = Duration::from_millis(50)..=Duration::from_secs(3600);
    match parse_duration(text)? {
        time if accepted.contains(&time) => Ok(time),
        _ => Err("write a time from 50ms to 1h".to_owned()),
    }
}
