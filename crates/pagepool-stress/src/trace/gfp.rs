//! From the request flags of a Linux 6.1 kernel to those of pagepool.
#![forbid(unsafe_code)]

use pagepool::Gfp;

/// What becomes of a flag.
#[derive(Clone, Copy)]
enum Fate {
    /// It means this here.
    Becomes(Gfp),
    /// It is dropped.
    Dropped,
}

use Fate::{Becomes, Dropped};

/// Every flag: its bit in Linux 6.1, its name there, and what becomes of it; if dropped, why.
const FLAGS: [(u32, &str, Fate); 23] = [
    (0x00_0001, "DMA", Dropped), // a replay's pool has no DMA zone
    (0x00_0002, "HIGHMEM", Becomes(Gfp::HIGHMEM)),
    (0x00_0004, "DMA32", Dropped),   // a replay's pool has no such zone
    (0x00_0008, "MOVABLE", Dropped), // the migratetype column decides
    (0x00_0010, "RECLAIMABLE", Dropped), // the migratetype column decides
    (0x00_0020, "HIGH", Becomes(Gfp::HIGH)),
    (0x00_0040, "IO", Becomes(Gfp::IO)),
    (0x00_0080, "FS", Becomes(Gfp::FS)),
    (0x00_0100, "ZERO", Becomes(Gfp::ZERO)),
    (0x00_0200, "ATOMIC", Becomes(Gfp::HARDER)),
    (0x00_0400, "DIRECT_RECLAIM", Becomes(Gfp::DIRECT_RECLAIM)),
    (0x00_0800, "KSWAPD_RECLAIM", Becomes(Gfp::KSWAPD_RECLAIM)),
    (0x00_1000, "WRITE", Dropped), // no dirty limit per node
    (0x00_2000, "NOWARN", Becomes(Gfp::NOWARN)),
    (0x00_4000, "RETRY_MAYFAIL", Becomes(Gfp::RETRY_MAYFAIL)),
    (0x00_8000, "NOFAIL", Dropped), // in a replay nobody else may be there to free memory
    (0x01_0000, "NORETRY", Becomes(Gfp::NORETRY)),
    (0x02_0000, "MEMALLOC", Becomes(Gfp::MEMALLOC)),
    (0x04_0000, "COMP", Dropped), // every block is a unit
    (0x08_0000, "NOMEMALLOC", Becomes(Gfp::NOMEMALLOC)),
    (0x10_0000, "HARDWALL", Becomes(Gfp::HARDWALL)),
    (0x20_0000, "THISNODE", Becomes(Gfp::THISNODE)),
    (0x40_0000, "ACCOUNT", Dropped), // no groups
];

/// The migratetype column of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Unmovable,
    Movable,
    Reclaimable,
}

impl Column {
    /// The migratetype with the kernel's number `n`.
    pub(crate) fn new(n: u64) -> Result<Column, String> {
        match n {
            0 => Ok(Column::Unmovable),
            1 => Ok(Column::Movable),
            2 => Ok(Column::Reclaimable),
            _ => Err(format!(
                "migratetype {n} is out of range: accepted is 0 to 2"
            )),
        }
    }

    fn flag(self) -> Gfp {
        match self {
            Column::Unmovable => Gfp::empty(),
            Column::Movable => Gfp::MOVABLE,
            Column::Reclaimable => Gfp::RECLAIMABLE,
        }
    }
}

/// Translates `flags` of a kernel's request that was of the migratetype `column`.
pub(crate) fn translate(flags: u64, column: Column) -> Result<Gfp, String> {
    let known = FLAGS
        .iter()
        .fold(0, |known, (bit, ..)| known | u64::from(*bit));
    if flags & !known != 0 {
        return Err(format!(
            "flags {flags:x} are out of range: accepted are bits of {known:x}"
        ));
    }
    let set = FLAGS
        .iter()
        .filter(|(bit, ..)| flags & u64::from(*bit) != 0);
    Ok(set.fold(column.flag(), |gfp, (_, _, fate)| match fate {
        Becomes(flag) => gfp | *flag,
        Dropped => gfp,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_stands_once_in_order() {
        for (n, (bit, name, _)) in FLAGS.iter().enumerate() {
            assert_eq!(*bit, 1 << n, "{name}");
        }
    }

    #[test]
    fn a_page_fault_is_a_movable_user_page() {
        let gfp = translate(0x0014_0cca, Column::Movable).unwrap();
        assert_eq!(gfp, Gfp::HIGHUSER_MOVABLE);
    }

    #[test]
    fn the_column_wins() {
        assert_eq!(translate(0xcc0 | 8, Column::Unmovable), Ok(Gfp::KERNEL));
        assert_eq!(
            translate(0xcc0, Column::Reclaimable),
            Ok(Gfp::KERNEL | Gfp::RECLAIMABLE)
        );
        assert_eq!(
            translate(0xcc0 | 0x10, Column::Movable),
            Ok(Gfp::KERNEL | Gfp::MOVABLE)
        );
    }

    #[test]
    fn nothing_contradicts_or_waits_for_ever() {
        for column in [Column::Unmovable, Column::Movable, Column::Reclaimable] {
            let gfp = translate(0x7f_ffff, column).unwrap();
            assert!(!gfp.is_contradictory());
            assert!(!gfp.contains(Gfp::NOFAIL));
        }
    }

    #[test]
    fn unknown_bits_are_refused() {
        assert!(translate(0x80_0000, Column::Movable).is_err());
        assert!(Column::new(3).is_err());
    }
}
