//! Reads a file of zstd frames as one stream: frame after frame, checksums compared.
#![forbid(unsafe_code)]

use std::{
    error::Error,
    io::{self, BufRead, Read},
};

use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// A reader of the contents of all frames of `source`, which must begin with one.
pub(crate) struct ZstdReader<R> {
    source: R,
    decoder: FrameDecoder,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    /// A frame or the end comes next.
    Between,
    /// Within a frame.
    Within,
}

impl<R: BufRead> ZstdReader<R> {
    pub(crate) fn new(source: R) -> ZstdReader<R> {
        ZstdReader {
            source,
            decoder: FrameDecoder::new(),
            state: State::Between,
        }
    }

    /// Begins the next frame; false at the end of the file.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => {
                    self.state = State::Within;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => self.skip(u64::from(length))?,
                Err(error) => return Err(damaged(error)),
            }
        }
        Ok(false)
    }

    fn skip(&mut self, length: u64) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.source).take(length), &mut io::sink())?;
        if skipped < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.state = State::Between;
        let stored = self.decoder.get_checksum_from_data();
        if stored.is_some() && stored != self.decoder.get_calculated_checksum() {
            return Err(damaged("the checksum does not match"));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.state == State::Between && !self.begin()? {
                return Ok(0);
            }
            let nr_read = self.decoder.read(buf)?;
            if nr_read > 0 || buf.is_empty() {
                return Ok(nr_read);
            }
            if self.decoder.is_finished() {
                self.end()?;
                continue;
            }
            self.decoder
                .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                .map_err(damaged)?;
        }
    }
}

/// The error of a decoder, told apart by whether the file ended too early.
fn damaged(error: impl Into<Box<dyn Error + Send + Sync>>) -> io::Error {
    let error = error.into();
    let mut cause: Option<&(dyn Error + 'static)> = Some(error.as_ref());
    while let Some(inner) = cause {
        let io = inner.downcast_ref::<io::Error>().map(io::Error::kind);
        if io == Some(io::ErrorKind::UnexpectedEof) {
            return io::ErrorKind::UnexpectedEof.into();
        }
        cause = inner.source();
    }
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame that holds "ab\n" as it is, without a checksum.
    const FRAME: [u8; 12] = [
        0x28, 0xb5, 0x2f, 0xfd, 0x20, 3, 0x19, 0, 0, b'a', b'b', b'\n',
    ];

    fn read(bytes: &[u8]) -> io::Result<String> {
        io::read_to_string(ZstdReader::new(bytes))
    }

    #[test]
    fn frames_follow_each_other() {
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
        let bytes = [&FRAME[..], &skippable, &FRAME].concat();
        assert_eq!(read(&bytes).unwrap(), "ab\nab\n");
    }

    #[test]
    fn cut_short_anywhere_is_an_error() {
        for len in 1..FRAME.len() {
            let error = read(&FRAME[..len]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{len}: {error}");
        }
        assert!(read(&[&FRAME[..], &FRAME[..7]].concat()).is_err());
    }

    #[test]
    fn garbage_after_a_frame_is_an_error() {
        assert!(read(&[&FRAME[..], b"garbage"].concat()).is_err());
    }
}
