//! A file as a backing.

#![forbid(unsafe_code)]

use super::*;

#[test]
fn a_file_backing_grows_on_write_and_reads_zeros_beyond_its_end() {
    let path = std::env::temp_dir().join(format!("pagepool-backing-{}", std::process::id()));
    let file = FileBacking::create(&path).expect("temporary files can be made");
    let reopened = FileBacking::open(&path);
    std::fs::remove_file(&path).expect("it was just made");

    let mut bytes = vec![1; 2 * PAGE_SIZE];
    file.read_in(3, &mut bytes).expect("it reads");
    assert!(bytes.iter().all(|&byte| byte == 0) && file.is_empty().expect("it is open"));
    file.write_out(2, &[5; PAGE_SIZE]).expect("it writes");
    file.sync().expect("it syncs");
    assert_eq!(file.len().expect("it is open"), 3 * PAGE_SIZE as u64);
    let reopened = reopened.expect("it is there");
    reopened.read_in(2, &mut bytes).expect("it reads");
    assert!(bytes[..PAGE_SIZE].iter().all(|&byte| byte == 5));
    assert!(bytes[PAGE_SIZE..].iter().all(|&byte| byte == 0));
}
