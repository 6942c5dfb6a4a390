//! The line of an instruction, from a code object's table of lines.

use super::layout::LineFormat;

/// The lines of a code object: the end of each range of instructions, in bytes, with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lines(Vec<(u32, Option<u32>)>);

impl Lines {
    /// Decodes a table. Garbage gives wrong lines, but never more of them than the table has bytes.
    pub fn decode(table: &[u8], format: LineFormat, first_line: i32) -> Self {
        let mut lines = Builder { ranges: Vec::new(), end: 0, line: first_line };
        match format {
            LineFormat::Lnotab { signed } => {
                // `PyCode_Addr2Line` in Objects/codeobject.c: a line counts from the sum of the differences so far.
                for &[instructions, difference] in table.as_chunks().0 {
                    lines.range(u32::from(instructions), true);
                    let difference = if signed { i32::from(difference as i8) } else { i32::from(difference) };
                    lines.line = lines.line.wrapping_add(difference);
                }
                lines.range(u32::MAX, true);
            }
            LineFormat::Ranges => {
                // `advance` in Objects/codeobject.c: -128 marks instructions without a line.
                for &[instructions, difference] in table.as_chunks().0 {
                    let difference = difference as i8;
                    if difference != i8::MIN {
                        lines.line = lines.line.wrapping_add(difference.into());
                    }
                    lines.range(instructions.into(), difference != i8::MIN);
                }
            }
            LineFormat::Locations => {
                // The first byte of an entry, and only that, has its highest bit set.
                let mut rest = table;
                while let Some((&first, following)) = rest.split_first() {
                    let length = following.iter().position(|byte| byte & 0x80 != 0).unwrap_or(following.len());
                    let (entry, next) = following.split_at(length);
                    lines.location(first, entry);
                    rest = next;
                }
            }
        }
        Self(lines.ranges)
    }

    /// Returns the line of the instruction at `offset` bytes, or `None` if it has none.
    pub fn at(&self, offset: u32) -> Option<u32> {
        let index = self.0.partition_point(|(end, _)| *end <= offset);
        self.0.get(index).and_then(|(_, line)| *line)
    }
}

struct Builder {
    ranges: Vec<(u32, Option<u32>)>,
    end: u32,
    line: i32,
}

impl Builder {
    /// Adds a range of so many bytes with the current line, or without a line.
    fn range(&mut self, bytes: u32, has_line: bool) {
        let line = if has_line { u32::try_from(self.line).ok().filter(|line| *line > 0) } else { None };
        self.end = self.end.saturating_add(bytes);
        match self.ranges.last_mut() {
            Some((end, last)) if *last == line => *end = self.end,
            _ => self.ranges.push((self.end, line)),
        }
    }

    /// Adds an entry of the format of 3.11: `first` is 1, four bits of its code, and three of its length less one, in
    /// units of two bytes.
    fn location(&mut self, first: u8, entry: &[u8]) {
        let code = first >> 3 & 15;
        let difference = match code {
            10..=12 => i32::from(code) - 10,
            13 | 14 => signed(entry),
            // 0 to 9 stay on the line, and 15 has none.
            _ => 0,
        };
        self.line = self.line.wrapping_add(difference);
        self.range((u32::from(first & 7) + 1) * 2, code != 15);
    }
}

/// Reads a number of six bits per byte, the lowest first. Its own lowest bit is the sign.
fn signed(bytes: &[u8]) -> i32 {
    let mut number = 0u32;
    for (index, byte) in bytes.iter().enumerate().take(6) {
        number |= u32::from(byte & 63) << (6 * index);
        if byte & 64 == 0 {
            break;
        }
    }
    let size = (number >> 1) as i32;
    if number & 1 == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lnotab_is_decoded() {
        // Lines 10, 12 from 6 on, 11 from 10 on.
        let table = [6, 2, 4, 0xff];
        let lines = Lines::decode(&table, LineFormat::Lnotab { signed: true }, 10);
        let found = [0, 5, 6, 9, 10, 1000].map(|offset| lines.at(offset).unwrap());
        assert_eq!(found, [10, 10, 12, 12, 11, 11]);
        let lines = Lines::decode(&table, LineFormat::Lnotab { signed: false }, 10);
        assert_eq!(lines.at(10), Some(12 + 255));
        assert_eq!(Lines::decode(&[], LineFormat::Lnotab { signed: true }, 7).at(3), Some(7));
    }

    #[test]
    fn ranges_without_a_line_are_found_in_the_table_of_3_10() {
        let lines = Lines::decode(&[6, 0, 4, 0x80, 0, 3, 2, 1], LineFormat::Ranges, 10);
        assert_eq!([0, 6, 9, 10, 11].map(|offset| lines.at(offset)), [Some(10), None, None, Some(14), Some(14)]);
        assert_eq!(lines.at(12), None);
    }

    #[test]
    fn each_kind_of_location_is_decoded() {
        let entry = |code: u8, units: u8| 0x80 | code << 3 | (units - 1);
        let mut table = vec![entry(11, 1), 4, 9, entry(0, 2), 0x31, entry(15, 1)];
        // A difference of -70 in two bytes, and of +3 without columns.
        table.extend([entry(14, 8), 0x40 | (141 & 63), 141 >> 6, 0, 1, 1, entry(13, 1), 6]);
        let lines = Lines::decode(&table, LineFormat::Locations, 100);
        let found = [0, 2, 5, 6, 8, 23, 24, 26].map(|offset| lines.at(offset));
        assert_eq!(found, [Some(101), Some(101), Some(101), None, Some(31), Some(31), Some(34), None]);
    }

    #[test]
    fn garbage_is_decoded_in_bounds() {
        let mut state = 1u64;
        for _ in 0..2000 {
            let table: Vec<u8> = (0..200)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 56) as u8
                })
                .collect();
            for format in [LineFormat::Lnotab { signed: true }, LineFormat::Ranges, LineFormat::Locations] {
                for first in [i32::MIN, 0, i32::MAX] {
                    let lines = Lines::decode(&table, format, first);
                    assert!(lines.0.len() <= table.len() + 1);
                    let _ = [0, 77, u32::MAX].map(|offset| lines.at(offset));
                }
            }
        }
    }
}
