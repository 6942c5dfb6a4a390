//! The file of a recording: a mark, and one block after the other. It is only ever appended to, or replaced by a shorter one
//! (`shorten`), so whatever was written before a kill can be read.

use super::block::Block;
use std::io::{self, Read};
use std::path::PathBuf;

/// The bytes at the start of each file: a mark, and the version of the format.
pub const HEAD: [u8; 16] = *b"busy recording\x01\n";

/// The part of a block before its content: its kind, the length of the content, and a checksum.
const BLOCK_HEAD: usize = 9;
/// The largest content of a block, so that a damaged length can't exhaust the memory.
const LARGEST: usize = 1 << 24;

/// The reason why a file is no recording.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error("can't read {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// It begins otherwise.
    #[error("{0} is not a recording of this version of busy: expected the mark {mark:?} in its first bytes", mark = String::from_utf8_lossy(&HEAD[..14]))]
    NoRecording(PathBuf),
    /// It ends before the first block: the recorder was killed at its start, or the file was cut off.
    #[error("{0} is a recording without a whole block: the recorder was killed at its start, or the file was cut off")]
    Empty(PathBuf),
}

impl Block {
    /// Appends the block to `bytes`.
    pub fn append(&self, bytes: &mut Vec<u8>) {
        let (kind, content) = self.encode();
        bytes.push(kind);
        bytes.extend((content.len() as u32).to_le_bytes());
        bytes.extend(checksum(kind, &content).to_le_bytes());
        bytes.extend(content);
    }
}

/// What follows the last block that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rest {
    /// The number of bytes. An incomplete block is left if the recorder was killed while it wrote the block.
    pub bytes: u64,
    /// Where they begin in the file, if that is no incomplete block but the file is damaged there.
    pub damaged_at: Option<u64>,
}

impl Rest {
    /// Returns what is damaged, for people; None if nothing is.
    pub fn damage(&self) -> Option<String> {
        let at = self.damaged_at?;
        Some(format!("damaged at byte {at}: {} bytes after it are not shown", self.bytes))
    }
}

/// The blocks of a file after [`HEAD`], up to the first one that is incomplete or damaged.
pub struct Blocks<R> {
    reader: R,
    /// The end of the last block in the file.
    end: u64,
    /// The number of bytes of the block that is incomplete or damaged.
    bad: u64,
    is_damaged: bool,
    error: Option<io::Error>,
}

impl<R: Read> Blocks<R> {
    /// Reads the blocks of what `reader` reads.
    pub fn new(reader: R) -> Self {
        Self { reader, end: HEAD.len() as u64, bad: 0, is_damaged: false, error: None }
    }

    /// Returns what is left after the last block.
    ///
    /// # Errors
    /// That of the reader.
    pub fn rest(mut self) -> io::Result<Rest> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(Rest {
                bytes: self.bad + io::copy(&mut self.reader, &mut io::sink())?,
                damaged_at: self.is_damaged.then_some(self.end),
            }),
        }
    }

    /// Reads up to `length` bytes.
    fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.error = self.reader.by_ref().take(length as u64).read_to_end(&mut bytes).err();
        self.bad += bytes.len() as u64;
        bytes
    }
}

impl<R: Read> Iterator for Blocks<R> {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        // After a damaged block, nothing is read as one.
        if self.bad > 0 {
            return None;
        }
        let head = self.read(BLOCK_HEAD);
        let number = |from: usize| Some(u32::from_le_bytes(head.get(from..from + 4)?.try_into().ok()?));
        let (length, sum) = (number(1)? as usize, number(5)?);
        let content = if length <= LARGEST { self.read(length) } else { Vec::new() };
        let is_complete = content.len() == length;
        let block =
            if is_complete && checksum(head[0], &content) == sum { Block::decode(head[0], &content) } else { None };
        if block.is_some() {
            self.end += self.bad;
            self.bad = 0;
        } else {
            // Without an error of the reader, a block is incomplete only at the end of the file. If another one follows, its
            // length is damaged.
            self.is_damaged = is_complete || length > LARGEST || ends_with_block(&content);
        }
        block
    }
}

/// Returns true if the last bytes are a block.
fn ends_with_block(bytes: &[u8]) -> bool {
    bytes.windows(BLOCK_HEAD).enumerate().any(|(from, head)| {
        let number = |from: usize| u32::from_le_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]]);
        let content = &bytes[from + BLOCK_HEAD..];
        number(1) as usize == content.len() && checksum(head[0], content) == number(5)
    })
}

/// FNV-1a, 32 bits (draft-eastlake-fnv).
fn checksum(kind: u8, content: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    content.iter().fold(step(0x811c_9dc5, &kind), step)
}

#[cfg(test)]
mod tests {
    use super::super::block::{Thread, Totals};
    use super::super::event::Event;
    use super::*;
    use busy_gil::log::Kind;

    fn example() -> Vec<Block> {
        let events = vec![
            Event { kind: Kind::Acquired, at: 1_000_000 },
            Event { kind: Kind::Lost, at: 3 },
            Event { kind: Kind::Dropped, at: 6_000_123 },
            Event { kind: Kind::WaitBegan, at: 6_000_123 },
        ];
        let totals = Totals { held_ns: u64::MAX, acquisitions: 300, waits_since_ns: Some(0), ..Totals::default() };
        vec![
            Block::Thread(Thread {
                process: 1,
                row: 7,
                tid: 99,
                gil: 0,
                name: "caf\u{e9} \"x\"".into(),
                runs: None,
                ended_ns: None,
            }),
            Block::Events { process: 1, row: 7, events },
            Block::Totals { process: 1, row: u64::MAX, totals },
        ]
    }

    /// Returns the blocks, and what is left.
    fn blocks(bytes: &[u8]) -> (Vec<Block>, Rest) {
        let mut blocks = Blocks::new(bytes);
        let found = blocks.by_ref().collect();
        (found, blocks.rest().unwrap())
    }

    fn bytes(blocks: &[Block]) -> Vec<u8> {
        let mut bytes = Vec::new();
        blocks.iter().for_each(|block| block.append(&mut bytes));
        bytes
    }

    #[test]
    fn blocks_are_read_as_they_were_written() {
        assert_eq!(blocks(&bytes(&example())), (example(), Rest::default()));
    }

    #[test]
    fn a_file_that_ends_anywhere_has_the_blocks_before_its_end() {
        let (all, example) = (bytes(&example()), example());
        for end in 0..all.len() {
            let (found, left) = blocks(&all[..end]);
            assert!(found.len() < example.len() && found == example[..found.len()], "{end}");
            let bytes = (end - bytes(&found).len()) as u64;
            assert_eq!(left, Rest { bytes, damaged_at: None }, "{end}");
        }
    }

    #[test]
    fn a_changed_byte_ends_the_recording_there_and_never_panics() {
        let all = bytes(&example());
        for place in 0..all.len() {
            for flip in [1u8, 0x80, 0xff] {
                let mut damaged = all.clone();
                damaged[place] ^= flip;
                let (found, left) = blocks(&damaged);
                assert!(found.len() < 3 && found == example()[..found.len()], "{place}");
                let at = bytes(&found).len();
                // In the last block, a larger length looks as if the file had been cut off.
                let is_length = found.len() == 2 && (at + 1..at + 5).contains(&place);
                let damaged_at = Some((HEAD.len() + at) as u64).filter(|_| !is_length || left.damaged_at.is_some());
                assert_eq!(left, Rest { bytes: (all.len() - at) as u64, damaged_at }, "{place}");
            }
        }
    }
}
