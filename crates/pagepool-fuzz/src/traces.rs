//! The readers of traces, compressed and not: `NAME\n`, and then the file's bytes.

use pagepool_stress::input;

use crate::assert_one_line;

/// Reads an input as a trace, or as the state of a kernel or a recording if its name says so.
///
/// # Panics
/// If what is accepted is inconsistent, or what is refused is not refused in one line that begins with the name.
pub fn traces(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (name, file) = match end {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[][..]),
    };
    let plain = |byte: &u8| byte.is_ascii_graphic();
    let Some(name) = str::from_utf8(name).ok().filter(|_| name.iter().all(plain)) else {
        return;
    };
    let read = match name {
        name if name.contains(".kernel.") => input::kernel_state(name, file.to_vec()),
        name if name.ends_with(".ppr") => input::recording(name, file),
        name => input::trace(name, file.to_vec()),
    };
    match read {
        Ok(events) => assert!(events > 0, "nothing was read"),
        Err(refusal) => {
            assert!(refusal.starts_with(&format!("{name}: ")), "{refusal:?}");
            assert_one_line(&refusal);
        }
    }
}
