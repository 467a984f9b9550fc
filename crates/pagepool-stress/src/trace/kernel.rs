//! `.kernel.txt`: how a real kernel stood when a trace of it ended.
//!
//! The file is what `/proc/zoneinfo` and `/proc/buddyinfo` showed; of several buddyinfo sections
//! the last one counts. Lines of other kinds are passed over.
#![forbid(unsafe_code)]

use pagepool::NR_ORDERS;

use super::{
    error::{Place, TraceError},
    lines::{Fields, for_each_line},
    source::Source,
};

/// A kernel's zones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KernelState {
    pub(crate) zones: Vec<KernelZone>,
}

/// A zone: its marks in pages, and its free blocks by order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KernelZone {
    pub(crate) name: String,
    pub(crate) managed: u64,
    pub(crate) min: u64,
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) nr_free: [u64; NR_ORDERS],
}

impl KernelState {
    fn zone(&mut self, name: &str) -> &mut KernelZone {
        let known = self.zones.iter().position(|zone| zone.name == name);
        let index = known.unwrap_or_else(|| {
            self.zones.push(KernelZone {
                name: name.to_owned(),
                ..KernelZone::default()
            });
            self.zones.len() - 1
        });
        &mut self.zones[index]
    }
}

/// Reads the file.
pub(crate) fn read(source: Source) -> Result<KernelState, TraceError> {
    let name = source.name.clone();
    let mut state = KernelState::default();
    let mut current = None;
    for_each_line(source, |line| {
        let Ok(line) = std::str::from_utf8(line) else {
            return Ok(());
        };
        match line.strip_prefix("Node 0, zone ") {
            Some(zone) => current = read_zone_line(&mut state, zone)?,
            None => read_detail(&mut state, current.as_deref(), line)?,
        }
        Ok(())
    })?;
    state.zones.retain(|zone| zone.managed > 0);
    if state.zones.is_empty() {
        return Err(TraceError::new(&name, Place::Whole, "no zone with memory"));
    }
    Ok(state)
}

/// Reads what follows `Node 0, zone`: a name, and in buddyinfo the free blocks of each order.
///
/// Returns the zone that the following lines are about.
fn read_zone_line(state: &mut KernelState, text: &str) -> Result<Option<String>, String> {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    match fields[..] {
        [name] => Ok(Some(name.to_owned())),
        [name, ref counts @ ..] if counts.len() == NR_ORDERS => {
            let mut numbers = Fields::blank(text.as_bytes());
            numbers.text("zone")?;
            for nr in &mut state.zone(name).nr_free {
                *nr = numbers.decimal("free blocks")?;
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

fn read_detail(state: &mut KernelState, zone: Option<&str>, line: &str) -> Result<(), String> {
    let (Some(zone), [name, value]) =
        (zone, &line.split_ascii_whitespace().collect::<Vec<_>>()[..])
    else {
        return Ok(());
    };
    let zone = state.zone(zone);
    let field = match *name {
        "managed" => &mut zone.managed,
        "min" => &mut zone.min,
        "low" => &mut zone.low,
        "high" => &mut zone.high,
        _ => return Ok(()),
    };
    *field = Fields::blank(value.as_bytes()).decimal(name)?;
    Ok(())
}
