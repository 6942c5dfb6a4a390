//! The names in a code object: str objects (PEP 393), or the byte strings of 2.7.

use super::super::target::Target;
use super::error::{StackError, plausible, torn};
use super::layout::{LENGTH, TEXT_STATE, Text};

/// The maximum number of characters read. The rest of a longer name is replaced by `…`.
pub(super) const LONGEST: usize = 4096;

/// Reads the text at `address`. Lone surrogates, as in the names of files that are not UTF-8, become `\udc80`, which is
/// how tracebacks print them (the error handler `backslashreplace`).
pub(super) fn read(target: &Target, address: u64, format: Text, bytes_data: u64) -> Result<String, StackError> {
    /// The largest header, that of a text that is not compact, and most names.
    const USUAL: usize = 160;
    let address = plausible(address, "the address of a name")?;
    let mut buffer = [0; USUAL];
    // At the end of a mapping there may be less than that.
    let mut known = USUAL;
    while !target.read(address, &mut buffer[..known])? {
        known -= 16;
        if known < 48 {
            return torn("a mapped name", address);
        }
    }
    let known = &buffer[..known];
    let word =
        |offset: u64| known.get(offset as usize..).and_then(<[u8]>::first_chunk).map(|word| u64::from_le_bytes(*word));
    let length = word(LENGTH).unwrap_or(0);
    // No name is that long; the length of a freed object may be anything.
    if length > 1 << 30 {
        return torn("the length of a name", length);
    }
    let kept = (length as usize).min(LONGEST);
    let (start, width) = match format {
        Text::Bytes => (address + bytes_data, 1),
        Text::Unicode { ascii, compact } => {
            // The bit fields of `state`: interned:2, kind:3, compact:1, ascii:1.
            let state = word(TEXT_STATE).unwrap_or(0) as u32;
            let width = (state >> 2 & 7) as usize;
            let (is_compact, is_ascii) = (state >> 5 & 1 == 1, state >> 6 & 1 == 1);
            if !matches!(width, 1 | 2 | 4) || is_ascii && width != 1 {
                return torn("the kind of a name's characters", state.into());
            }
            let start = match (is_compact, is_ascii) {
                (true, true) => address + ascii,
                (true, false) => address + compact,
                // A subclass of str, or a text made by the old C API: PyUnicodeObject.data.
                (false, _) => word(compact).unwrap_or(0),
            };
            (start, width)
        }
    };
    let mut long;
    let size = kept * width;
    let inside = start.checked_sub(address).map(|offset| offset as usize);
    let characters = match inside.and_then(|offset| known.get(offset..offset.checked_add(size)?)) {
        Some(characters) => characters,
        None => {
            long = vec![0; size];
            if !target.read(start, &mut long)? {
                return torn("the characters of a name", start);
            }
            &long
        }
    };
    let mut text = match format {
        Text::Bytes => String::from_utf8_lossy(characters).into_owned(),
        Text::Unicode { .. } => decode(characters, width)?,
    };
    if kept < length as usize {
        text.push('…');
    }
    Ok(text)
}

/// Decodes characters of one, two or four bytes.
fn decode(characters: &[u8], width: usize) -> Result<String, StackError> {
    let mut text = String::with_capacity(characters.len());
    for character in characters.chunks_exact(width) {
        let code = character.iter().rev().fold(0, |code, byte| code << 8 | u32::from(*byte));
        match char::from_u32(code) {
            Some(character) => text.push(character),
            None if (0xd800..0xe000).contains(&code) => text.push_str(&format!("\\u{code:04x}")),
            None => return torn("a character", code.into()),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_of_each_width_are_decoded() {
        assert_eq!(decode(b"caf\xe9", 1).unwrap(), "café");
        assert_eq!(decode(&[0x53, 0x30, 0x80, 0xdc], 2).unwrap(), "こ\\udc80");
        assert_eq!(decode(&[0x00, 0xf6, 0x01, 0x00], 4).unwrap(), "😀");
        assert!(decode(&[0xff, 0xff, 0xff, 0x7f], 4).unwrap_err().is_torn());
    }

    #[test]
    fn the_memory_of_a_name_is_read_in_bounds() {
        let target = Target::open(std::process::id()).unwrap();
        let unicode = Text::Unicode { ascii: 40, compact: 56 };
        let object = |length: u64, state: u32, characters: &[u8]| {
            let mut memory = vec![0u64; 64];
            (memory[2], memory[4]) = (length, state.into());
            for (index, byte) in characters.iter().enumerate() {
                let at = if state >> 6 & 1 == 1 { 40 } else { 56 } + index;
                memory[at / 8] |= u64::from(*byte) << (at % 8 * 8);
            }
            memory
        };
        let read = |memory: &[u64]| read(&target, memory.as_ptr() as u64, unicode, 32);
        let (ascii, latin) = (1 << 6 | 1 << 5 | 1 << 2, 1 << 5 | 1 << 2);
        assert_eq!(read(&object(3, ascii, b"abc")).unwrap(), "abc");
        assert_eq!(read(&object(4, latin, b"caf\xe9")).unwrap(), "café");
        for garbage in [object(u64::MAX, ascii, b"abc"), object(3, 3 << 2 | 1 << 5, b"abc"), object(3, 0, b"")] {
            assert!(read(&garbage).unwrap_err().is_torn());
        }
        let mut long = object(5000, ascii, b"");
        long.resize(1000, 0x6161_6161_6161_6161);
        long[5..64].fill(0x6161_6161_6161_6161);
        assert_eq!(read(&long).unwrap(), "a".repeat(LONGEST) + "…");
    }

    #[test]
    fn garbage_is_read_in_bounds() {
        let target = Target::open(std::process::id()).unwrap();
        let mut memory = vec![0u64; 1 << 12];
        let (start, size) = (memory.as_ptr() as u64, memory.len() as u64);
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 32
        };
        for word in &mut memory {
            *word = match random() % 4 {
                0 => random() % 6000,
                1 => random() << 32,
                _ => start + random() % size * 8,
            };
        }
        let mut read_count = 0;
        for _ in 0..20_000 {
            let address = start + random() % (size * 8);
            for format in [Text::Bytes, Text::Unicode { ascii: 48, compact: 72 }] {
                match read(&target, address, format, 36) {
                    Ok(text) => {
                        assert!(text.len() <= (LONGEST + 1) * 6);
                        read_count += 1;
                    }
                    Err(error) => assert!(error.is_torn(), "{error}"),
                }
            }
        }
        assert!(read_count > 200, "{read_count}");
    }
}
