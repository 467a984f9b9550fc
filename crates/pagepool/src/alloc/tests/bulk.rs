//! Many blocks at once.

use super::*;
use crate::node::fixture::nodes;
use crate::sync::cpu::with_cpu;
use crate::zone::vmstat::VmEvent;

#[test]
fn bulk_stops_at_the_low_mark_and_counts_its_blocks() {
    let nodes = nodes(&[[0, 64, 0], [0, 64, 0]], 16);
    let mut taken = vec![];
    let got = with_cpu(0, || {
        bare(&nodes, AGES).alloc_bulk(Order::ZERO, Gfp::KERNEL, 1000, &mut |run| {
            taken.extend(run.pfns());
        })
    });
    assert_eq!(got, Ok(108));
    assert_eq!(
        (taken.len(), free(&nodes)),
        (108, 20),
        "min 8, gap 2, twice"
    );
    assert_eq!(nodes.counted(VmEvent::NumaHit), 54);
    assert_eq!(nodes.counted(VmEvent::NumaMiss), 54);
    nodes.verify().unwrap();
}
