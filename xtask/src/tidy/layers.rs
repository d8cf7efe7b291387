//! The order of the engine's modules: lower knows nothing of higher, siblings nothing of siblings.
//!
//! Each module of the crate's root has a rank, and a file may name another module only if that
//! one's rank is lower. A name that `lib.rs` re-exports counts as the module it comes from, so
//! `crate::Error` is no way round, and `super` is followed to the module that it means.
//!
//! `lib.rs` is exempt: it names every module. So are comments (a doc link may point upwards) and
//! test code, which may stand on whatever it likes.

use std::collections::BTreeMap;

use super::paths::{NamedPath, paths};
use super::source::Source;
use super::{Offence, Tree};

const ENGINE: &str = "engine/src/";
const ROOT: &str = "engine/src/lib.rs";

/// The ranks from the lowest up; the modules of one row don't know each other.
const ORDER: &[&[&str]] = &[
    &["limits", "escape", "planted", "sync"],
    &["error"],
    &["units", "trace"],
    &["checksum", "digest", "cancel", "eventcount", "progress", "damage"],
    &["format"],
    &["buffer"],
    &["stats"],
    &["ring"],
    &["spool", "ordered"],
    &["source", "chunker", "codec", "placement"],
    &["encode", "members"],
    &["journal"],
    &["commit"],
    &["worker"],
    &["pipeline"],
    &["known"],
    &["read"],
    &["verify"],
    &["pack", "write", "unpack", "salvage", "foreign"],
    &["aio", "bench", "doctor"],
];

/// A use against the order that stands, with the reason why.
struct Exception {
    user: &'static str,
    used: &'static str,
    #[expect(dead_code, reason = "read by people: why the order gives way")]
    reason: &'static str,
}

const EXCEPTIONS: &[Exception] = &[];

pub(super) fn check(tree: &Tree) -> Vec<Offence> {
    let reexports = reexports(tree);
    let mut offences = unranked(tree);
    let engine = |source: &&Source| source.path.starts_with(ENGINE) && source.path != ROOT;
    for source in tree.sources.iter().filter(engine) {
        let own = module_of(&source.path);
        let Some(rank) = rank(&own[0]) else { continue };
        for path in paths(source).iter().filter(|path| !path.test) {
            let Some(used) = named_module(path, &own, &reexports) else {
                continue;
            };
            if used == own[0] || is_excepted(&own[0], &used) {
                continue;
            }
            let is_below = self::rank(&used).is_some_and(|used_rank| used_rank < rank);
            if !is_below {
                let message = format!("`{}` knows `{used}`, which is not below it", own[0]);
                offences.push(Offence::new(&source.path, path.line, message));
            }
        }
    }
    offences
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|row| row.contains(&module))
}

fn is_excepted(user: &str, used: &str) -> bool {
    EXCEPTIONS.iter().any(|exception| exception.user == user && exception.used == used)
}

/// Files whose module has no place in the order.
fn unranked(tree: &Tree) -> Vec<Offence> {
    tree.sources
        .iter()
        .filter(|source| source.path.starts_with(ENGINE) && source.path != ROOT)
        .filter(|source| !source.lines.iter().all(|line| line.test))
        .map(|source| (source, module_of(&source.path)))
        .filter(|(_, module)| rank(&module[0]).is_none())
        .map(|(source, module)| {
            let message = format!("`{}` has no rank in xtask/src/tidy/layers.rs", module[0]);
            Offence::new(&source.path, 1, message)
        })
        .collect()
}

/// The module that a file of the engine is, as its path from the crate's root.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_start_matches(ENGINE).trim_end_matches(".rs");
    path.trim_end_matches("/mod").split('/').map(str::to_owned).collect()
}

/// What `lib.rs` makes known under a name of its own, and the module each comes from.
fn reexports(tree: &Tree) -> BTreeMap<String, String> {
    let Some(root) = tree.sources.iter().find(|source| source.path == ROOT) else {
        return BTreeMap::new();
    };
    let mut names = BTreeMap::new();
    for path in paths(root) {
        let in_crate = path.starts_with("crate") || path.starts_with("self");
        let segments = &path.segments[usize::from(in_crate)..];
        if let [module, .., last] = segments
            && rank(module).is_some()
        {
            names.insert(path.alias.unwrap_or_else(|| last.clone()), module.clone());
        }
    }
    names
}

/// The module of the crate's root that the path leads into, if it leads into one.
fn named_module(
    path: &NamedPath,
    own: &[String],
    reexports: &BTreeMap<String, String>,
) -> Option<String> {
    let from_root = from_root(&path.segments, own)?;
    let name = from_root.first()?;
    if rank(name).is_some() {
        return Some(name.clone());
    }
    reexports.get(name).cloned()
}

/// The path as counted from the crate's root; none if it leads out of the crate.
fn from_root(segments: &[String], own: &[String]) -> Option<Vec<String>> {
    let (first, rest) = segments.split_first()?;
    let mut base = match first.as_str() {
        "crate" => Vec::new(),
        "self" => own.to_vec(),
        "super" => own[..own.len() - 1].to_vec(),
        _ => return None,
    };
    let mut rest = rest.iter();
    for segment in rest.by_ref() {
        if segment != "super" {
            base.push(segment.clone());
            break;
        }
        base.pop();
    }
    base.extend(rest.cloned());
    Some(base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::shown;

    #[test]
    fn a_use_upwards_or_sideways_is_found() {
        let table = [
            ("format/header.rs", "use crate::ring::Op;", "`format` knows `ring`"),
            ("ring/uring.rs", "use crate::{units, source::Input};", "`ring` knows `source`"),
            ("codec.rs", "fn f(x: crate::placement::Slot) {}", "`codec` knows `placement`"),
            ("units.rs", "use crate::checksum;", "`units` knows `checksum`"),
            ("worker.rs", "use super::pipeline;", "`worker` knows `pipeline`"),
            ("ring/op.rs", "use super::super::journal::Record;", "`ring` knows `journal`"),
            ("verify.rs", "use crate::unpack::Unpack;", "`verify` knows `unpack`"),
        ];
        for (file, code, expected) in table {
            let path = format!("engine/src/{file}");
            let expected = format!("{path}:1: {expected}, which is not below it");
            assert_eq!(shown(check, &[(&path, code)]), [expected], "{code}");
        }
    }

    #[test]
    fn a_use_downwards_or_within_is_free() {
        let table = [
            ("lib.rs", "use crate::pack::Pack;"),
            ("source/file.rs", "use crate::ring::File;"),
            ("ring/op.rs", "use super::inflight::Slot;\nuse crate::ring::probe;"),
            ("pack.rs", "use crate::{error::Error, pipeline};"),
            ("codec.rs", "// See crate::pipeline.\n/// [`crate::pack`]\nfn f() {}"),
            ("codec.rs", "#[cfg(test)]\nmod tests {\n    use crate::pack::Pack;\n}"),
            ("codec.rs", "use std::pipeline::X;"),
        ];
        for (file, code) in table {
            let shown = shown(check, &[(&format!("engine/src/{file}"), code)]);
            assert!(shown.is_empty(), "{file}: {code}: {shown:?}");
        }
    }

    #[test]
    fn a_reexport_counts_as_the_module_it_comes_from() {
        let root = "pub use error::Error;\npub use crate::pack::{Pack, Options as PackOptions};\n";
        let code = "use crate::Error;\nuse crate::Pack;\nuse crate::PackOptions;\n";
        assert_eq!(
            shown(check, &[(ROOT, root), ("engine/src/codec.rs", code)]),
            [
                "engine/src/codec.rs:2: `codec` knows `pack`, which is not below it",
                "engine/src/codec.rs:3: `codec` knows `pack`, which is not below it",
            ]
        );
    }

    #[test]
    fn a_module_without_a_rank_is_found() {
        assert_eq!(
            shown(check, &[("engine/src/helper/mod.rs", "//! Help.\n")]),
            ["engine/src/helper/mod.rs:1: `helper` has no rank in xtask/src/tidy/layers.rs"]
        );
    }

    #[test]
    fn ranks_are_unique_and_exceptions_name_ranked_modules() {
        let mut modules = ORDER.concat();
        modules.sort_unstable();
        let count = modules.len();
        modules.dedup();
        assert_eq!(modules.len(), count);
        for exception in EXCEPTIONS {
            assert!(rank(exception.user).is_some() && rank(exception.used).is_some());
        }
    }
}
