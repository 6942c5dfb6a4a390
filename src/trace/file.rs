//! The file of a recording: a mark, and one block after the other. It is only ever appended to, so whatever was written
//! before a kill can be read.

use super::block::Block;
use std::io;
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
    /// It is empty but for the mark: the recorder was killed at its start.
    #[error("{0} is a recording that was killed before its first block: there is nothing to read")]
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

/// Returns the blocks of a file's bytes after [`HEAD`], up to the first one that is incomplete or damaged, and the number
/// of bytes that are left from there.
pub fn blocks(bytes: &[u8]) -> (Vec<Block>, usize) {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some((block, length)) = first(rest) {
        found.push(block);
        rest = &rest[length..];
    }
    (found, rest.len())
}

/// Returns the first block of `bytes`, and its length.
fn first(bytes: &[u8]) -> Option<(Block, usize)> {
    let head = bytes.get(..BLOCK_HEAD)?;
    let number = |from: usize| u32::from_le_bytes(head[from..from + 4].try_into().expect("four bytes"));
    let length = usize::try_from(number(1)).ok().filter(|length| *length <= LARGEST)?;
    let content = bytes.get(BLOCK_HEAD..BLOCK_HEAD + length)?;
    if checksum(head[0], content) != number(5) {
        return None;
    }
    Some((Block::decode(head[0], content)?, BLOCK_HEAD + length))
}

/// FNV-1a, 32 bits (draft-eastlake-fnv).
fn checksum(kind: u8, content: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    content.iter().fold(step(0x811c_9dc5, &kind), step)
}

#[cfg(test)]
mod tests {
    use super::super::block::{Event, Thread, Totals};
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

    fn bytes(blocks: &[Block]) -> Vec<u8> {
        let mut bytes = Vec::new();
        blocks.iter().for_each(|block| block.append(&mut bytes));
        bytes
    }

    #[test]
    fn blocks_are_read_as_they_were_written() {
        assert_eq!(blocks(&bytes(&example())), (example(), 0));
    }

    #[test]
    fn a_file_that_ends_anywhere_has_the_blocks_before_its_end() {
        let (all, example) = (bytes(&example()), example());
        for end in 0..all.len() {
            let (found, left) = blocks(&all[..end]);
            assert!(found.len() < example.len() && found == example[..found.len()], "{end}");
            assert_eq!(bytes(&found).len() + left, end);
        }
    }

    #[test]
    fn a_changed_byte_ends_the_recording_there_and_never_panics() {
        let all = bytes(&example());
        for place in 0..all.len() {
            for flip in [1u8, 0x80, 0xff] {
                let mut damaged = all.clone();
                damaged[place] ^= flip;
                let (found, _) = blocks(&damaged);
                assert!(found.len() < 3 && found == example()[..found.len()], "{place}");
            }
        }
    }
}
