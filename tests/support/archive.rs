//! Tar members as a test wants them, which no tar would write.

use tar::{EntryType, Header};

/// Appends a member, of root and of 2001. A device is `/dev/null` by its numbers.
///
/// # Panics
/// Where a name has more than 100 bytes.
pub fn put(
    archive: &mut Vec<u8>,
    kind: EntryType,
    path: &str,
    link: &str,
    mode: u32,
    bytes: &[u8],
) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header.set_size(bytes.len() as u64);
    if kind.is_character_special() || kind.is_block_special() {
        header.set_device_major(1).expect("there is room for it");
        header.set_device_minor(3).expect("there is room for it");
    }
    let old = header.as_old_mut();
    old.name[..path.len()].copy_from_slice(path.as_bytes());
    old.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    archive.extend(header.as_bytes());
    archive.extend(bytes);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

/// Appends a PAX header of these records for the next member.
pub fn put_pax(archive: &mut Vec<u8>, records: &[(&str, &[u8])]) {
    let mut bytes = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut len = rest + 1;
        while len != rest + len.to_string().len() {
            len = rest + len.to_string().len();
        }
        bytes.extend(format!("{len} {key}=").bytes());
        bytes.extend(*value);
        bytes.push(b'\n');
    }
    put(archive, EntryType::XHeader, "pax", "", 0o644, &bytes);
}
