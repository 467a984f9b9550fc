//! The crate `procfs` reads what it knows of these files.

use pagepool::{PAGE_SIZE, ProcFile};
use procfs::{FromBufRead, Meminfo, MemoryPressure, VmStat};

use super::Used;

fn read<T: FromBufRead>(text: &str) -> T {
    T::from_buf_read(text.as_bytes()).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

#[test]
fn procfs_reads_vmstat() {
    let used = Used::new();
    let stats = used.pool.stats();
    let VmStat(read) = read(&stats.proc(ProcFile::Vmstat).to_string());
    assert_eq!(read.len(), stats.vmstat.iter().len());
    for (name, count) in stats.vmstat.iter() {
        assert_eq!(read[name], count as i64, "{name}");
    }
    assert!(read["pswpout"] >= 300 && read["pgalloc_normal"] > 0);
}

#[test]
fn procfs_reads_meminfo() {
    let used = Used::new();
    let stats = used.pool.stats();
    let read: Meminfo = read(&stats.proc(ProcFile::Meminfo).to_string());
    let bytes = |pages: usize| (pages * PAGE_SIZE) as u64;
    let count = |name| bytes(stats.vmstat.get(name).unwrap() as usize);
    assert_eq!(read.mem_total, bytes(stats.managed_pages));
    assert_eq!(read.mem_free, bytes(stats.free_pages));
    assert_eq!(read.swap_total, bytes(stats.swap_total_pages));
    assert_eq!(read.swap_free, bytes(stats.swap_free_pages));
    assert_eq!(read.anon_pages, Some(count("nr_anon_pages")));
    assert_eq!(read.swap_cached, count("nr_swapcached"));
    assert_eq!(read.inactive_anon, Some(count("nr_inactive_anon")));
    assert_eq!(read.active_anon, Some(count("nr_active_anon")));
    assert_eq!(
        read.inactive,
        count("nr_inactive_anon") + count("nr_inactive_file")
    );
    assert_eq!(read.k_reclaimable, Some(bytes(8)));
    assert_eq!((read.buffers, read.slab, read.mapped), (0, 0, 0));
    let available = read.mem_available.unwrap();
    assert!(available > 0 && available < read.mem_total, "{available}");
}

#[test]
fn procfs_reads_pressure() {
    let used = Used::new();
    let stats = used.pool.stats();
    let total = stats.pressure.some.total.as_micros() as u64;
    assert!(total > 0, "threads have reclaimed");
    let read: MemoryPressure = read(&stats.proc(ProcFile::MemoryPressure).to_string());
    assert_eq!(read.some.total, total);
    assert_eq!(
        read.full.total,
        stats.pressure.full.total.as_micros() as u64
    );
    assert!((f64::from(read.some.avg10) - stats.pressure.some.avg10).abs() < 0.01);
}
