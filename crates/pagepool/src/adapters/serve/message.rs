//! What is said at a pool's socket: a JSON object a line, in both directions.
//!
//! ```text
//! a tool asks     {"get":"snapshot"}
//! the pool says   {"protocol":1,"snapshot":{"name":…,"pid":…,"stats":{…},"groups":[…],…}}
//!                 {"protocol":1,"end":"the pool has ended"}        and closes
//!                 {"protocol":1,"error":"a request is …"}          and closes
//! ```
//!
//! The protocol's number changes when something is left out or means something else; that something is added, a
//! reader has to expect.

#![forbid(unsafe_code)]

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::adapters::figures::Figures;
use crate::node::DaemonReport;
use crate::oom::OomStats;
use crate::pool::PagePool;
use crate::pool::groups::GroupStats;
use crate::pool::stats::Stats;
use crate::pool::swapping::SwapAreaStats;
use crate::psi::Pressure;

/// The version of what is said.
pub(super) const PROTOCOL: u32 = 1;

/// What a tool can ask for.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    Get(What),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Snapshot,
}

/// Whether a line is a request that can be met.
pub(super) fn is_request(line: &[u8]) -> bool {
    matches!(
        serde_json::from_slice(line),
        Ok(Request::Get(What::Snapshot))
    )
}

/// What the pool says.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    Snapshot(Box<Snapshot>),
    End(&'static str),
    Error(&'static str),
}

#[derive(Serialize)]
struct Line<'a> {
    protocol: u32,
    #[serde(flatten)]
    message: &'a Message,
}

impl Message {
    /// As it is sent.
    pub(super) fn line(&self) -> Vec<u8> {
        let protocol = PROTOCOL;
        let line = Line {
            protocol,
            message: self,
        };
        let mut bytes = serde_json::to_vec(&line).expect("strings, numbers, and names as keys");
        bytes.push(b'\n');
        bytes
    }
}

/// Whose figures they are.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) pid: u32,
}

/// A pool at a moment, as it is sent.
#[derive(Serialize)]
pub(super) struct Snapshot {
    name: String,
    pid: u32,
    /// The library's.
    version: &'static str,
    /// Since the server was started: what rates are made of.
    served_for: Duration,
    stats: Stats,
    /// All but the root.
    groups: Vec<GroupFigures>,
    swap_areas: Vec<SwapAreaStats>,
    oom: OomStats,
    daemons: Vec<DaemonReport>,
    waiting: Waiting,
}

/// A group, and for how long its threads have waited.
#[derive(Serialize)]
struct GroupFigures {
    #[serde(flatten)]
    stats: GroupStats,
    pressure: Pressure,
}

/// How many threads wait, and for what.
#[derive(Serialize)]
struct Waiting {
    for_memory: u32,
    for_group: u32,
    for_folio: u32,
    for_kswapd: u32,
}

impl Snapshot {
    pub(super) fn of(pool: &PagePool, who: &Identity, served_for: Duration) -> Snapshot {
        let Figures {
            stats,
            groups,
            swap_areas,
            oom,
        } = Figures::of(pool);
        let state = pool.state();
        let waiting = Waiting {
            for_memory: state.nr_waiting_for_memory,
            for_group: state.nr_waiting_for_group,
            for_folio: state.nr_waiting_for_folio,
            for_kswapd: state.nodes.iter().map(|node| node.nr_throttled).sum(),
        };
        let groups = groups.into_iter();
        let groups = groups.map(|(stats, pressure)| GroupFigures { stats, pressure });
        let daemons = { state.nodes.into_iter() }.flat_map(|node| [node.kswapd, node.kcompactd]);
        Snapshot {
            name: who.name.clone(),
            pid: who.pid,
            version: env!("CARGO_PKG_VERSION"),
            served_for,
            stats,
            groups: groups.collect(),
            swap_areas,
            oom,
            daemons: daemons.collect(),
            waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::gfp::Gfp;
    use crate::group::GroupLimits;

    #[test]
    fn only_what_can_be_met_is_a_request() {
        assert!(is_request(br#"{"get":"snapshot"}"#));
        assert!(is_request(b" { \"get\" : \"snapshot\" } \r"));
        for other in [
            "",
            "snapshot",
            "GET / HTTP/1.1\r",
            r#"{"get":"everything"}"#,
            r#"{"get":"snapshot","more":1}"#,
            r#"["get"]"#,
            "\u{fffd}\0",
        ] {
            assert!(!is_request(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_message_is_one_line_and_names_the_protocol() {
        let line = Message::End("over").line();
        assert_eq!(line, b"{\"protocol\":1,\"end\":\"over\"}\n");
        let line = Message::Error("no \"such\"\nthing").line();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    }

    #[test]
    fn a_snapshot_has_the_figures_of_the_pool_and_its_groups() {
        let pool = PagePool::builder().memory(64 << 20).build().unwrap();
        let group = pool.create_group("tenant", GroupLimits::new()).unwrap();
        let _folio = group.alloc_folio(1 << 20, Gfp::USER_MOVABLE).unwrap();
        let who = Identity {
            name: "cache".to_owned(),
            pid: 7,
        };
        let snapshot = Snapshot::of(&pool, &who, Duration::from_millis(1500));
        let line = Message::Snapshot(Box::new(snapshot)).line();
        let said: Value = serde_json::from_slice(&line).unwrap();

        let snapshot = &said["snapshot"];
        assert_eq!(snapshot["name"], json!("cache"));
        assert_eq!(snapshot["pid"], json!(7));
        assert_eq!(
            snapshot["served_for"],
            json!({ "secs": 1, "nanos": 500_000_000 })
        );
        assert_eq!(
            snapshot["stats"]["budget_bytes"],
            json!(pool.stats().budget_bytes)
        );
        let told = &snapshot["groups"][0];
        assert_eq!(told["path"], json!("tenant"));
        assert_eq!(told["current_bytes"], json!(1 << 20));
        assert_eq!(told["limits"]["max"], json!(null));
        assert_eq!(told["pressure"]["full"]["avg60"], json!(0.0));
        assert_eq!(snapshot["daemons"][0]["name"], json!("kswapd0"));
        assert_eq!(snapshot["daemons"][0]["state"], json!("on_call"));
        assert_eq!(snapshot["waiting"]["for_memory"], json!(0));
    }
}
