//! Options and reports as data, by the library's feature `serde`.

use std::time::Duration;

use ringpack::pack::{PackOptions, ResumeOptions};
use ringpack::read::ContainerReader;
use ringpack::unpack::UnpackOptions;
use ringpack::verify::VerifyOptions;
use ringpack::write::{ContainerWriter, ReopenOptions, WriteOptions};
use ringpack::{Attributes, Cadence, Checkpoint, Codec, IoMode, PlacementKind};
use serde_json::{Value, from_str, json, to_value};
use support::chunks::{CHUNK, chunk};
use support::content;

#[test]
fn options_are_read_as_a_person_writes_them() {
    let options: WriteOptions = from_str(
        r#"{
            "codec": { "zstd": 9 }, "chunk_log2": 18, "placement": "dense", "blake3": true,
            "window": 12, "checkpoints": { "bytes": 1000 }, "io": "pwrite", "threads": 3
        }"#,
    )
    .unwrap();
    let cadence = Cadence { bytes: 1000, ..Cadence::default() };
    let expected = WriteOptions {
        codec: Codec::Zstd(9),
        chunk_log2: 18,
        placement: PlacementKind::Dense,
        blake3: true,
        window: Some(12),
        checkpoints: Some(cadence),
        io: IoMode::Pwrite,
        threads: Some(3),
        ..WriteOptions::default()
    };
    assert_eq!(options, expected);
    let packing: PackOptions =
        from_str(r#"{ "codec": "store", "checkpoints": null, "resume": true }"#).unwrap();
    let expected = PackOptions {
        codec: Codec::Store,
        checkpoints: None,
        resume: true,
        ..PackOptions::default()
    };
    assert_eq!(packing, expected);
}

/// What is left out is as by default, for each kind of options.
#[test]
fn nothing_at_all_is_the_default_and_a_misspelt_option_is_an_error() {
    assert_eq!(from_str::<WriteOptions>("{}").unwrap(), WriteOptions::default());
    assert_eq!(from_str::<ReopenOptions>("{}").unwrap(), ReopenOptions::default());
    assert_eq!(from_str::<PackOptions>("{}").unwrap(), PackOptions::default());
    assert_eq!(from_str::<ResumeOptions>("{}").unwrap(), ResumeOptions::default());
    assert_eq!(from_str::<UnpackOptions>("{}").unwrap(), UnpackOptions::default());
    assert_eq!(from_str::<VerifyOptions>("{}").unwrap(), VerifyOptions::default());
    for wrong in [r#"{ "thread": 3 }"#, r#"{ "codec": "lz4" }"#, r#"{ "threads": -1 }"#] {
        assert!(from_str::<WriteOptions>(wrong).is_err(), "{wrong}");
        assert!(from_str::<PackOptions>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_written_is_read_again() {
    let options = PackOptions {
        codec: Codec::Zstd(-3),
        placement: PlacementKind::Slots,
        checkpoints: Some(Cadence {
            bytes: 1,
            interval: Duration::from_millis(1500),
            percent_max: 7,
        }),
        io: IoMode::Uring,
        ..PackOptions::default()
    };
    let text = to_value(&options).unwrap();
    assert_eq!(text["codec"], json!({ "zstd": -3 }));
    assert_eq!(text["placement"], "slots");
    assert!(text.get("observer").is_none(), "a function is no data");
    assert_eq!(serde_json::from_value::<PackOptions>(text).unwrap(), options);

    let attributes = Attributes { mode: 0o640, owner: Some((3, 4)), modified: None };
    let text = to_value(attributes).unwrap();
    assert_eq!(text, json!({ "mode": 0o640, "owner": [3, 4], "modified": null }));
    assert_eq!(serde_json::from_value::<Attributes>(text).unwrap(), attributes);
}

#[test]
fn reports_say_what_was_written_and_what_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let bytes = content(3 * CHUNK + 5, 1);
    let options = WriteOptions { chunk_log2: 16, blake3: true, ..WriteOptions::default() };
    let writer = ContainerWriter::create(&path, &options).unwrap();
    for sequence in 0..4 {
        writer.write_chunk(sequence, chunk(&bytes, sequence)).unwrap();
    }
    let checkpoint = to_value(writer.checkpoint().unwrap()).unwrap();
    assert_eq!((&checkpoint["chunks"], &checkpoint["bytes"]), (&json!(4), &json!(bytes.len())));
    assert!(serde_json::from_value::<Checkpoint>(checkpoint).is_ok());
    let report = to_value(writer.finalize(None).unwrap()).unwrap();
    let header = &report["header"];
    assert_eq!(header["codec"], "zstd");
    assert_eq!(header["content_size"], json!(bytes.len()));
    assert_eq!(header["content_crc32c"], json!(crc(&path)));
    let digest = blake3::hash(&bytes).to_hex().to_string();
    assert_eq!(header["digest"], json!({ "blake3": digest }));
    assert_eq!(report["reopened"], Value::Null);
    assert_eq!(report["run"]["warnings"], json!([]));

    let mut damaged = std::fs::read(&path).unwrap();
    let container = ContainerReader::from_source(damaged.clone()).unwrap();
    let frame = container.chunk(2).unwrap().frame_range();
    damaged[frame.start as usize + 20] ^= 1;
    let findings = ContainerReader::from_source(damaged).unwrap().verify(true).unwrap();
    let findings = to_value(findings).unwrap();
    assert_eq!(findings["damage_count"], 1);
    let damage = &findings["damages"][0];
    assert_eq!((&damage["kind"], &damage["chunk"]), (&json!("damaged"), &json!(2)));
    assert!(damage["message"].as_str().unwrap().contains("chunk 2"), "{damage}");
}

/// The checksum that stands in the file.
fn crc(path: &std::path::Path) -> u32 {
    ContainerReader::open(path).unwrap().header().content_crc32c
}
