//! What a fuzzer makes up for the readers of tar streams.

/// The bytes, with the checksum mended in each block of the first 64 that a bit of `mended` is set
/// for: a header with a wrong one ends the stream.
pub fn mended((mended, mut bytes): (u64, Vec<u8>)) -> Vec<u8> {
    for (number, block) in bytes.chunks_exact_mut(512).enumerate().take(64) {
        if mended >> number & 1 == 1 {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    bytes
}
