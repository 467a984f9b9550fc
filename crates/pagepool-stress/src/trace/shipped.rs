//! The traces that are part of the binary: every page allocation of a kernel under pressure, and the page
//! references of a database.
#![forbid(unsafe_code)]

use super::{
    blocks::BlockTrace,
    error::TraceError,
    kernel::{self, KernelState},
    pga,
    references::ReferenceTrace,
    requests,
    source::Source,
};

const NAME: &str = "guest-a.pga.zst";
const TRACE: &[u8] = include_bytes!("../../traces/guest-a.pga.zst");
const REFERENCES_NAME: &str = "sqlite.pages.zst";
const REFERENCES: &[u8] = include_bytes!("../../traces/sqlite.pages.zst");
const KERNEL: &[u8] = include_bytes!("../../traces/guest-a.kernel.txt");

/// Decodes the trace.
pub(crate) fn guest_a() -> Result<BlockTrace, TraceError> {
    pga::read(Source::in_memory(NAME, TRACE)?)
}

/// Decodes the references.
pub(crate) fn sqlite_pages() -> Result<ReferenceTrace, TraceError> {
    requests::read(
        Source::in_memory(REFERENCES_NAME, REFERENCES)?,
        requests::pages,
    )
}

/// How the kernel that the trace was recorded on stood at its end.
pub(crate) fn guest_a_kernel() -> Result<KernelState, TraceError> {
    kernel::read(Source::in_memory("guest-a.kernel.txt", KERNEL)?)
}

/// A trace of a few events of every kind.
pub(crate) fn rehearsal() -> Result<BlockTrace, TraceError> {
    const TRACE: &[u8] =
        b"A 0 0 1 140cca 0 0\nA 1 3 0 cc0 0 0\nA 2 9 1 1c20ca 0 0\nA 3 0 0 dc0 0 0\n\
        S 2 8 4\nF 0\nF 4\nS 1 0 6\nA 14 0 2 cd0 0 0\nF 9\nF 3\n";
    pga::read(Source::in_memory("rehearsal", TRACE)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phase::size_for_peak;

    #[test]
    fn the_trace_is_the_one_described() {
        let trace = guest_a().unwrap();
        assert_eq!(trace.nr_allocs, 447_098);
        assert_eq!(
            trace.nr_allocs_by_order,
            [446_010, 416, 658, 2, 0, 0, 0, 0, 0, 12, 0]
        );
        assert_eq!(trace.events.len(), 447_098 + 440_558 + 4);
        assert_eq!(trace.peak_pages, 17_129);
        assert_eq!(size_for_peak(trace.peak_pages) / (2 << 20), 39);
    }

    #[test]
    fn the_references_are_the_ones_described() {
        let trace = sqlite_pages().unwrap();
        assert_eq!((trace.references.len(), trace.orders.len()), (42_204, 2663));
    }

    #[test]
    fn the_kernel_ended_without_a_free_large_block() {
        let kernel = guest_a_kernel().unwrap();
        assert_eq!(kernel.zones.len(), 2);
        assert_eq!(
            kernel.zones[0].nr_free,
            [200, 173, 137, 28, 10, 4, 0, 0, 0, 0, 0]
        );
        assert_eq!(
            kernel.zones[1].nr_free,
            [1415, 517, 166, 58, 22, 14, 4, 0, 0, 0, 0]
        );
        assert_eq!(kernel.zones[1].name, "DMA32");
        assert_eq!(kernel.zones[1].managed, 24_263);
        assert_eq!(kernel.zones[1].high, 1788);
    }
}
