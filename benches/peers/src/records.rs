//! The TLS records that come through a stream, counted by their headers.

use std::io::{self, Read, Write};

/// The length of a record's header: type, version and length.
const HEADER: usize = 5;

/// Which of the types carries data.
const APPLICATION_DATA: u8 = 23;

/// A stream that counts the records of data read from it.
pub struct Counted<S> {
    io: S,
    records: u64,
    /// What has come of the next header.
    header: Vec<u8>,
    /// What is still to come of the current record.
    rest: usize,
}

impl<S> Counted<S> {
    pub fn new(io: S) -> Self {
        Self { io, records: 0, header: Vec::with_capacity(HEADER), rest: 0 }
    }

    /// How many records of data have begun.
    pub fn records(&self) -> u64 {
        self.records
    }

    fn count(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.rest.min(bytes.len());
            (self.rest, bytes) = (self.rest - skipped, &bytes[skipped..]);
            let taken = (HEADER - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if let [kind, _, _, high, low] = self.header[..] {
                self.records += u64::from(kind == APPLICATION_DATA);
                self.rest = usize::from(u16::from_be_bytes([high, low]));
                self.header.clear();
            }
        }
    }
}

impl<S: Read> Read for Counted<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.io.read(buf)?;
        self.count(&buf[..n]);
        Ok(n)
    }
}

impl<S: Write> Write for Counted<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.io.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.io.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_however_they_are_cut() {
        let record =
            |kind, len: u16| [&[kind, 3, 3][..], &len.to_be_bytes(), &vec![APPLICATION_DATA; len.into()]].concat();
        let bytes = [record(22, 40), record(23, 0), record(23, 300), record(21, 2), record(23, 1)].concat();
        for at_a_time in [1, 3, 7, 100, bytes.len()] {
            let mut counted = Counted::new(io::empty());
            bytes.chunks(at_a_time).for_each(|bytes| counted.count(bytes));
            assert_eq!((counted.records(), counted.rest, counted.header.len()), (3, 0, 0));
        }
    }
}
