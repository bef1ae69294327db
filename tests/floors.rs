//! Keeps the crate's floors true: imports point down only.

use std::{collections::BTreeMap, fs, path::Path};

use proc_macro2::{TokenStream, TokenTree};

/// Which file stands on which floor. The root, `lib.rs`, stands above all.
const FLOORS: &[(&str, u8)] = &[
    ("close.rs", 0),
    ("config.rs", 0),
    ("error.rs", 0),
    ("message.rs", 0),
    ("stats.rs", 0),
    ("deflate.rs", 1),
    ("frame.rs", 1),
    ("mask.rs", 1),
    ("token.rs", 1),
    ("utf8.rs", 1),
    ("protocol/mod.rs", 2),
    ("protocol/closing.rs", 2),
    ("protocol/inbound.rs", 2),
    ("protocol/outbound.rs", 2),
    ("protocol/inbound/assembly.rs", 2),
    ("protocol/outbound/burst.rs", 2),
    ("protocol/outbound/control.rs", 2),
    ("protocol/outbound/current.rs", 2),
    ("protocol/outbound/encoded.rs", 2),
    ("protocol/outbound/ledger.rs", 2),
    ("protocol/pings.rs", 2),
    ("connection.rs", 3),
    ("extension.rs", 3),
    ("handshake.rs", 3),
    ("idle.rs", 3),
    ("read_buffer.rs", 3),
    ("refusal.rs", 3),
    ("request.rs", 3),
    ("response.rs", 3),
    ("subprotocol.rs", 3),
    ("target.rs", 3),
    ("tls.rs", 3),
    ("transport.rs", 3),
    ("wakers.rs", 3),
    ("client.rs", 4),
    ("stream.rs", 4),
    ("compat/mod.rs", 5),
    ("compat/dispatch.rs", 5),
    ("compat/event.rs", 5),
    ("compat/shared.rs", 5),
];

/// On this floor the files do not know one another, but for `mod.rs`, which ties them together, and parts of their own.
const STRANGERS: u8 = 2;

const ROOT: &str = "lib.rs";

#[test]
fn every_file_stands_on_a_floor() {
    let sources = sources();
    for file in sources.keys().filter(|file| *file != ROOT) {
        assert!(
            floor(FLOORS, file).is_some(),
            "src/{file} stands on no floor: give it one in FLOORS of tests/floors.rs"
        );
    }
    for (file, _) in FLOORS {
        assert!(sources.contains_key(*file), "src/{file} is gone: take it out of FLOORS of tests/floors.rs");
    }
}

#[test]
fn imports_point_down() {
    let wrong = pointing_up(&sources(), FLOORS);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_import_that_points_up_is_found() {
    for (file, source) in [
        ("message.rs", "use crate::protocol::Protocol;"),
        ("message.rs", "use crate::{close::CloseCode, protocol::{inbound}};"),
        ("message.rs", "fn f() { vec![g(crate::protocol::LIMIT)]; }"),
        ("message.rs", "use super::protocol::Protocol;"),
        ("message.rs", "mod tests { use super::super::protocol::Protocol; }"),
        ("message.rs", "pub(in crate::message) fn f(_: crate::Protocol) {}"),
        ("message.rs", "use crate::Unknown;"),
        ("message.rs", "use crate::*;"),
        ("protocol/inbound.rs", "use crate::protocol::outbound::Outbound;"),
        ("protocol/inbound.rs", "use super::outbound::Outbound;"),
        ("protocol/inbound.rs", "use super::outbound::ledger::Ledger;"),
        ("protocol/inbound.rs", "use super::Protocol;"),
    ] {
        let wrong = pointing_up(&house(file, source), HOUSE);
        assert_eq!(wrong.len(), 1, "{file}: {source}: {wrong:?}");
        assert!(wrong[0].starts_with(&format!("src/{file}:1: ")), "{}", wrong[0]);
    }
}

#[test]
fn what_points_down_or_is_no_import_passes() {
    for (file, source) in [
        ("message.rs", "use crate::{close::CloseCode, Message}; mod tests { use super::*; }"),
        ("message.rs", "/// [`P`](crate::Protocol)\n/* crate::Protocol */ const S: &str = \"crate::Protocol\";"),
        ("message.rs", "pub(crate) fn f() {} pub(in crate::protocol) fn g() {}"),
        ("protocol/inbound.rs", "use crate::message::Message; mod tests { use super::super::super::close; }"),
        (
            "protocol/mod.rs",
            "use crate::protocol::inbound::Inbound; use self::outbound::*; use super::close::CloseCode;",
        ),
        ("protocol/outbound.rs", "use self::ledger::Ledger;"),
    ] {
        assert_eq!(pointing_up(&house(file, source), HOUSE), [""; 0], "{file}: {source}");
    }
}

/// Whether a file is a part of another one, and in the folder that has its name.
fn is_child(target: &str, file: &str) -> bool {
    file.strip_suffix(".rs").and_then(|stem| target.strip_prefix(stem)).is_some_and(|rest| rest.starts_with('/'))
}

/// The floors of a small crate that is made up for the tests above.
const HOUSE: &[(&str, u8)] = &[
    ("close.rs", 0),
    ("message.rs", 0),
    ("protocol/mod.rs", 2),
    ("protocol/inbound.rs", 2),
    ("protocol/outbound.rs", 2),
    ("protocol/outbound/ledger.rs", 2),
];

/// That crate, empty but for its root and one file.
fn house(file: &str, source: &str) -> BTreeMap<String, String> {
    let mut sources: BTreeMap<_, _> = HOUSE.iter().map(|(name, _)| (name.to_string(), String::new())).collect();
    sources.insert(ROOT.into(), "pub use crate::message::Message; pub use protocol::{Protocol, inbound::*};".into());
    sources.insert(file.into(), source.into());
    sources
}

/// The files of the crate: path below `src` and content.
fn sources() -> BTreeMap<String, String> {
    fn read(directory: &Path, prefix: &str, sources: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                read(&path, &format!("{name}/"), sources);
            } else if name.ends_with(".rs") {
                sources.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut sources = BTreeMap::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut sources);
    sources
}

fn floor(floors: &[(&str, u8)], file: &str) -> Option<u8> {
    floors.iter().find(|(name, _)| *name == file).map(|(_, floor)| *floor)
}

/// Each import that does not point down, as a line for people.
fn pointing_up(sources: &BTreeMap<String, String>, floors: &[(&str, u8)]) -> Vec<String> {
    let reexports = imports(&sources[ROOT], &[]);
    let mut wrong = Vec::new();
    for (file, source) in sources {
        let Some(from) = floor(floors, file) else { continue };
        for Import { line, path } in imports(source, &module(file)) {
            // What the root re-exports counts as what it is, not as a part of the root.
            let reexport = reexports.iter().find(|reexport| path.len() == 1 && reexport.path.ends_with(&path));
            let target = file_of(reexport.map_or(&path, |reexport| &reexport.path), sources);
            let is_fine = match floor(floors, &target) {
                _ if target == *file => true,
                Some(STRANGERS) if from == STRANGERS => file.ends_with("/mod.rs") || is_child(&target, file),
                Some(to) => to <= from,
                None => false,
            };
            if !is_fine {
                wrong.push(format!(
                    "src/{file}:{line}: crate::{} does not point down: it is in src/{target}",
                    path.join("::")
                ));
            }
        }
    }
    wrong
}

/// The module that a file is: `["protocol", "inbound"]` for `protocol/inbound.rs`.
fn module(file: &str) -> Vec<String> {
    let file = file.trim_end_matches(".rs").trim_end_matches("/mod");
    file.split('/').map(str::to_owned).collect()
}

/// The file in which a path's longest known module stands.
fn file_of(path: &[String], sources: &BTreeMap<String, String>) -> String {
    (1..=path.len())
        .rev()
        .map(|len| path[..len].join("/"))
        .flat_map(|module| [format!("{module}.rs"), format!("{module}/mod.rs")])
        .find(|file| sources.contains_key(file))
        .unwrap_or_else(|| ROOT.into())
}

/// A path into this crate, from its root on.
struct Import {
    line: usize,
    path: Vec<String>,
}

/// The paths in `source`, the source of `module`, that begin with `crate`, `super` or `self`, in the root also those
/// that follow `use`.
fn imports(source: &str, module: &[String]) -> Vec<Import> {
    let mut imports = Vec::new();
    search(source.parse().expect("it is Rust"), module, &mut imports);
    imports
}

fn search(tokens: TokenStream, module: &[String], imports: &mut Vec<Import>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut rest = tokens.as_slice();
    while let [token, after @ ..] = rest {
        rest = match (token, after) {
            (TokenTree::Ident(word), [TokenTree::Ident(name), TokenTree::Group(body), after @ ..]) if word == "mod" => {
                search(body.stream(), &[module, &[name.to_string()]].concat(), imports);
                after
            }
            (TokenTree::Ident(word), _) if word == "use" && module.is_empty() => follow(after, module, imports),
            (TokenTree::Ident(word), _) if ["crate", "super", "self"].iter().any(|start| word == start) => {
                if skip_colons(after).is_some() {
                    follow(rest, module, imports)
                } else {
                    after
                }
            }
            (TokenTree::Group(group), _) => {
                // `pub(in path)` imports nothing.
                if group.stream().into_iter().next().is_none_or(|first| first.to_string() != "in") {
                    search(group.stream(), module, imports);
                }
                after
            }
            _ => after,
        };
    }
}

/// Reads a path, or a tree of them as after `use`, that stands in the module `base`. Returns what follows it.
fn follow<'a>(mut rest: &'a [TokenTree], base: &[String], imports: &mut Vec<Import>) -> &'a [TokenTree] {
    let Some(first) = rest.first() else { return rest };
    let line = first.span().start().line;
    let mut path = base.to_vec();
    loop {
        match rest {
            [TokenTree::Ident(word), after @ ..] => {
                match word.to_string().as_str() {
                    "crate" => path.clear(),
                    "super" => drop(path.pop()),
                    "self" => {}
                    name => path.push(name.into()),
                }
                rest = after;
            }
            [TokenTree::Group(tree), after @ ..] => {
                let tokens: Vec<_> = tree.stream().into_iter().collect();
                for branch in tokens.split(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',')) {
                    follow(branch, &path, imports);
                }
                return after;
            }
            _ => break,
        }
        match skip_colons(rest) {
            Some(after) => rest = after,
            None => break,
        }
    }
    imports.push(Import { line, path });
    rest
}

/// What follows `::`, if `tokens` begin with it.
fn skip_colons(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    match tokens {
        [TokenTree::Punct(first), TokenTree::Punct(second), rest @ ..] => {
            (first.as_char() == ':' && second.as_char() == ':').then_some(rest)
        }
        _ => None,
    }
}
