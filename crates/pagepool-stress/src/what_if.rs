//! What a recorded pool was, and what is changed about it for a second run.
//!
//! A setting whose recorded value is the default of the recorded pool stays a default: in a pool of half the memory
//! `min_free_kbytes` is what such a pool has, and not what the recorded one had.
#![forbid(unsafe_code)]

use std::time::Duration;

use pagepool::{BuildError, Builder, PAGE_SIZE, PagePool, Tape};

use crate::{
    nearest::nearest,
    phase::Daemons,
    swapping::SwapPlan,
    units::{human_bytes, parse_bytes},
};

/// What a pool is built with, beside its tunables.
const BUILT_WITH: [&str; 7] = [
    "memory",
    "swap",
    "movable_share",
    "nodes",
    "daemons",
    "dma",
    "max_folios",
];

/// What stands for a value that nobody has asked for.
const DEFAULT: &str = "default";

/// A setting that is to be another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    name: String,
    value: String,
}

impl Change {
    /// Parses `NAME=VALUE`. Names are those of the kernel: a prefix `vm.` and dashes are as good.
    pub(crate) fn parse(text: &str) -> Result<Change, String> {
        let parts = text
            .split_once('=')
            .map(|(name, value)| (name.trim(), value.trim()));
        let (name, value) = parts
            .filter(|(name, value)| !name.is_empty() && !value.is_empty())
            .ok_or("write a setting and its value, such as memory=512M or swappiness=10")?;
        let name = name.strip_prefix("vm.").unwrap_or(name).replace('-', "_");
        Ok(Change {
            name,
            value: value.to_owned(),
        })
    }

    /// As it stands in reports.
    pub(crate) fn describe(&self) -> String {
        format!("{}={}", self.name, self.value)
    }
}

/// What a pool is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PoolSettings {
    memory: usize,
    nodes: usize,
    /// None is the pool's default.
    movable_share: Option<u8>,
    dma: usize,
    swap: usize,
    /// None is the pool's default.
    max_folios: Option<usize>,
    patience: Duration,
    daemons: Daemons,
    /// Those that are no defaults.
    tunables: Vec<(String, String)>,
}

impl PoolSettings {
    /// What the recorded pool was.
    ///
    /// # Errors
    /// What is missing, or is no value, or that no such pool can be.
    pub(crate) fn of_tape(tape: &Tape) -> Result<PoolSettings, String> {
        let text = |name: &str| {
            tape.setting(name)
                .ok_or_else(|| format!("the recording does not say the pool's {name}"))
        };
        let number = |name: &str| text(name).and_then(|text| number_of(name, text));
        let mut settings = PoolSettings {
            memory: number("memory")?,
            nodes: number("nodes")?,
            movable_share: share_of(text("movable_share")?)?,
            dma: number("dma")?,
            swap: number("swap")?,
            max_folios: Some(number("max_folios")?),
            patience: Duration::from_millis(number("deadline_ms")? as u64),
            daemons: daemons_of(text("daemons")?)?,
            tunables: Vec::new(),
        };
        let defaults = settings.probe()?;
        settings.tunables = { defaults.tunables().all() }
            .filter_map(|default| {
                let value = tape.setting(default.name)?;
                (value != default.value).then(|| (default.name.to_owned(), value.to_owned()))
            })
            .collect();
        settings.tune(&defaults)?;
        Ok(settings)
    }

    /// The same pool, but for these.
    ///
    /// # Errors
    /// A name that is none, with all that are; a value that is none, with those that are accepted.
    pub(crate) fn changed(&self, changes: &[Change]) -> Result<PoolSettings, String> {
        let mut changed = self.clone();
        for change in changes {
            changed.apply(change)?;
        }
        let pool = changed.probe()?;
        changed.tune(&pool)?;
        Ok(changed)
    }

    fn apply(&mut self, change: &Change) -> Result<(), String> {
        let Change { name, value } = change;
        match name.as_str() {
            "memory" => {
                self.memory = bytes_of(name, value)?;
                // As many as there are by default in such a pool.
                self.max_folios = None;
            }
            "swap" if value == "off" => self.swap = 0,
            "swap" => self.swap = bytes_of(name, value)?,
            "dma" => self.dma = bytes_of(name, value)?,
            "nodes" => self.nodes = number_of(name, value)?,
            "max_folios" => self.max_folios = Some(number_of(name, value)?),
            "movable_share" => self.movable_share = share_of(value)?,
            "daemons" => self.daemons = daemons_of(value)?,
            _ => self.set_tunable(name, value),
        }
        Ok(())
    }

    fn set_tunable(&mut self, name: &str, value: &str) {
        self.tunables.retain(|(known, _)| known != name);
        self.tunables.push((name.to_owned(), value.to_owned()));
    }

    /// Builds such a pool for a moment, to see whether there can be one.
    fn probe(&self) -> Result<PagePool, String> {
        let builder = self.shape(PagePool::builder()).nodes(self.nodes);
        let pool = builder.daemons(false).build();
        pool.map_err(|error: BuildError| format!("no such pool can be built: {error}"))
    }

    /// What a pool is built with, beside what a phase says.
    pub(crate) fn shape(&self, builder: Builder) -> Builder {
        let builder = builder.memory(self.memory).dma(self.dma);
        let builder = match self.movable_share {
            Some(percent) => builder.movable_share(percent),
            None => builder,
        };
        match self.max_folios {
            Some(folios) => builder.max_folios(folios),
            None => builder,
        }
    }

    /// Sets the tunables that are no defaults.
    ///
    /// # Errors
    /// The first that cannot be, with what can.
    pub(crate) fn tune(&self, pool: &PagePool) -> Result<(), String> {
        for (name, value) in &self.tunables {
            pool.tunables()
                .set(name, value)
                .map_err(|error| match error.field() {
                    "tunable" => no_setting(name, pool),
                    _ => error.to_string(),
                })?;
        }
        Ok(())
    }

    pub(crate) fn nodes(&self) -> usize {
        self.nodes
    }

    pub(crate) fn daemons(&self) -> Daemons {
        self.daemons
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) fn swap(&self) -> Option<SwapPlan> {
        (self.swap > 0).then_some(SwapPlan::File {
            path: None,
            // One page is the header.
            bytes: (self.swap + PAGE_SIZE) as u64,
        })
    }

    /// In a line.
    pub(crate) fn describe(&self) -> String {
        let mut line = format!(
            "memory {}, swap {}, {} node(s), daemons {}",
            human_bytes(self.memory as u64),
            human_bytes(self.swap as u64),
            self.nodes,
            self.daemons.name()
        );
        if let Some(percent) = self.movable_share {
            line += &format!(", {percent} % movable");
        }
        for (name, value) in &self.tunables {
            line += &format!(", {name} {value}");
        }
        line
    }
}

/// That a name is none, with the one that was meant, or all.
fn no_setting(name: &str, pool: &PagePool) -> String {
    let tunables = pool.tunables().all().map(|tunable| tunable.name);
    let names: Vec<_> = BUILT_WITH.into_iter().chain(tunables).collect();
    match nearest(name, names.iter().copied()) {
        Some(meant) => format!("{name:?} is no setting: did you mean {meant}?"),
        None => format!("{name:?} is no setting: there are {}", names.join(", ")),
    }
}

fn number_of(name: &str, text: &str) -> Result<usize, String> {
    let number = text.trim().parse();
    number.map_err(|_| format!("{name} = {text:?} is no number"))
}

fn bytes_of(name: &str, text: &str) -> Result<usize, String> {
    parse_bytes(text).map_err(|error| format!("{name} = {text:?}: {error}"))
}

fn share_of(text: &str) -> Result<Option<u8>, String> {
    if text == DEFAULT {
        return Ok(None);
    }
    match text.parse() {
        Ok(percent) if percent <= 100 => Ok(Some(percent)),
        _ => Err(format!(
            "movable_share = {text:?} is out of range: accepted is 0 to 100 percent, or {DEFAULT}"
        )),
    }
}

fn daemons_of(text: &str) -> Result<Daemons, String> {
    match text {
        "on" => Ok(Daemons::On),
        "off" => Ok(Daemons::Off),
        _ => Err(format!("daemons = {text:?}: write on or off")),
    }
}

#[cfg(test)]
mod tests {
    use pagepool::RecordOptions;

    use super::*;

    fn settings() -> PoolSettings {
        let builder = PagePool::builder().memory(64 << 20).movable_share(25);
        let pool = builder.watermark_scale_factor(50).build().unwrap();
        let recording = pool.record(RecordOptions::ring(1 << 20)).unwrap();
        PoolSettings::of_tape(&recording.stop().unwrap().tape.unwrap()).unwrap()
    }

    fn changed(changes: &[&str]) -> Result<PoolSettings, String> {
        let changes = changes.iter().map(|text| Change::parse(text).unwrap());
        settings().changed(&changes.collect::<Vec<_>>())
    }

    #[test]
    fn a_recording_says_what_its_pool_was() {
        let settings = settings();
        assert_eq!((settings.memory, settings.nodes), (64 << 20, 1));
        assert_eq!(settings.movable_share, Some(25));
        assert_eq!(settings.daemons, Daemons::On);
        let tunables = [("watermark_scale_factor".to_owned(), "50".to_owned())];
        assert_eq!(settings.tunables, tunables, "and no default");
    }

    #[test]
    fn what_is_changed_is_changed_and_nothing_else() {
        let names = [
            "memory=32M",
            "vm.watermark-scale-factor=100",
            "daemons=off",
            "swap=16M",
        ];
        let changed = changed(&names).unwrap();
        let expected = PoolSettings {
            memory: 32 << 20,
            max_folios: None,
            daemons: Daemons::Off,
            swap: 16 << 20,
            tunables: vec![("watermark_scale_factor".to_owned(), "100".to_owned())],
            ..settings()
        };
        assert_eq!(changed, expected);
    }

    #[test]
    fn what_cannot_be_is_refused_in_one_line() {
        for (change, part) in [
            (
                "memroy=1G",
                "\"memroy\" is no setting: did you mean memory?",
            ),
            ("vm.swapiness=1", "did you mean swappiness?"),
            ("colour=red", "is no setting: there are memory, swap, "),
            ("swappiness=999", "accepted is 0 to 200"),
            ("memory=4K", "no such pool can be built"),
            ("memory=lots", "write a size"),
            ("nodes=99", "no such pool can be built"),
            ("daemons=maybe", "write on or off"),
            ("movable_share=101", "0 to 100 percent"),
        ] {
            let error = changed(&[change]).unwrap_err();
            assert!(error.contains(part) && !error.contains('\n'), "{error}");
        }
        for text in ["memory", "=5", "memory="] {
            assert!(Change::parse(text).is_err(), "{text}");
        }
    }
}
