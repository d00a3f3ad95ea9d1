//! Which modules of a crate import which, and the cycles among them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::source::Source;

/// A module, by the names on the path from the crate's root, which has none.
pub type Module = Vec<String>;

/// The modules of a crate.
pub struct Crate {
    modules: BTreeMap<Module, Source>,
}

/// Each module with those that it imports from.
pub type Graph = BTreeMap<Module, BTreeSet<Module>>;

impl Crate {
    /// Reads all files under `src` except those of tests.
    pub fn read(src: &Path) -> Self {
        let mut modules = BTreeMap::new();
        read_folder(src, &[], &mut modules);
        if let Some(main) = modules.remove(&vec!["main".to_owned()]) {
            modules.entry(Vec::new()).or_insert(main);
        }
        let tests: Vec<Module> = modules
            .iter()
            .flat_map(|(module, source)| {
                let names = source.test_modules.iter();
                names.map(|name| [module.as_slice(), std::slice::from_ref(name)].concat())
            })
            .collect();
        modules.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        Self { modules }
    }

    pub fn sources(&self) -> impl Iterator<Item = (&Module, &Source)> {
        self.modules.iter()
    }

    pub fn graph(&self) -> Graph {
        let imports = |module: &Module, source: &Source| {
            let imports = source.imports.iter().map(|import| &import.path);
            let paths = imports.chain(&source.paths);
            paths
                .filter_map(|path| self.resolve(module, path, 8))
                .filter(|target| target != module)
                .collect()
        };
        let modules = self.modules.iter();
        modules
            .map(|(m, source)| (m.clone(), imports(m, source)))
            .collect()
    }

    /// Returns the module that defines the item of a path, followed through re-exports. Returns
    /// `None` for items of other crates.
    fn resolve(&self, from: &Module, path: &[String], hops: usize) -> Option<Module> {
        let (mut at, mut rest) = (from.clone(), path);
        match path.first()?.as_str() {
            "crate" => at.clear(),
            "self" | "super" => {}
            child if self.child(from, child).is_some() => {}
            _ => return None,
        }
        while let [name, others @ ..] = rest {
            match name.as_str() {
                "crate" | "self" => {}
                "super" => drop(at.pop()),
                name => match self.child(&at, name) {
                    Some(child) => at = child,
                    None => break,
                },
            }
            rest = others;
        }
        let exported = rest.first().filter(|_| at != *from && hops > 0);
        let exported = exported.and_then(|name| {
            let mut imports = self.modules.get(&at)?.imports.iter();
            imports.find(|import| import.name == *name)
        });
        let target = exported.and_then(|import| self.resolve(&at, &import.path, hops - 1));
        Some(target.unwrap_or(at))
    }

    fn child(&self, module: &Module, name: &str) -> Option<Module> {
        let child = [module.as_slice(), &[name.to_owned()]].concat();
        self.modules.contains_key(&child).then_some(child)
    }
}

fn read_folder(folder: &Path, above: &[String], modules: &mut BTreeMap<Module, Source>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().and_then(|s| s.to_str()).expect("a name");
        let module = match stem {
            "lib" if above.is_empty() => Vec::new(),
            "mod" => above.to_vec(),
            name => [above, &[name.to_owned()]].concat(),
        };
        if stem == "tests" || stem == "bin" {
            continue;
        }
        if path.is_dir() {
            read_folder(&path, &module, modules);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            modules.insert(module, Source::parse(&text));
        }
    }
}

/// Returns the cycles, except those between a module and its descendants. Each is a list that ends
/// with the module that it begins with.
pub fn cycles(graph: &Graph) -> Vec<Vec<Module>> {
    let mut cycles = Vec::new();
    for group in strongly_connected(graph) {
        let within = restricted(graph, |module| group.contains(module));
        let parent = group
            .iter()
            .find(|p| group.iter().all(|m| m.starts_with(p)));
        match parent {
            Some(parent) if group.len() > 1 => {
                cycles.extend(self::cycles(&restricted(&within, |module| {
                    module != parent
                })));
            }
            _ => cycles.push(shortest(&within)),
        }
    }
    cycles
}

fn restricted(graph: &Graph, keep: impl Fn(&Module) -> bool) -> Graph {
    let modules = graph.iter().filter(|(module, _)| keep(module));
    modules
        .map(|(module, imports)| {
            let imports = imports.iter().filter(|import| keep(import));
            (module.clone(), imports.cloned().collect())
        })
        .collect()
}

/// Returns the groups of modules in which each leads to all others.
fn strongly_connected(graph: &Graph) -> Vec<BTreeSet<Module>> {
    let reach: BTreeMap<_, _> = graph.keys().map(|m| (m, reachable(graph, m))).collect();
    let leads = |from: &Module, to: &Module| reach[from].contains(to);
    let groups: BTreeSet<BTreeSet<Module>> = graph
        .keys()
        .map(|module| {
            let others = graph
                .keys()
                .filter(|other| leads(module, other) && leads(other, module));
            others.cloned().collect()
        })
        .filter(|group: &BTreeSet<Module>| !group.is_empty())
        .collect();
    groups.into_iter().collect()
}

fn reachable(graph: &Graph, from: &Module) -> BTreeSet<Module> {
    let (mut found, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        for import in graph.get(module).into_iter().flatten() {
            if found.insert(import.clone()) {
                next.push(import);
            }
        }
    }
    found
}

/// Returns the shortest cycle that has to be broken, or all modules of the group if each short one
/// is between a module and its descendants.
fn shortest(group: &Graph) -> Vec<Module> {
    group
        .keys()
        .filter_map(|module| way_back(group, module))
        .filter(|way| !way.iter().any(|top| way.iter().all(|m| m.starts_with(top))))
        .min_by_key(Vec::len)
        .unwrap_or_else(|| group.keys().cloned().collect())
}

/// Returns the shortest path from a module to itself.
fn way_back(graph: &Graph, from: &Module) -> Option<Vec<Module>> {
    let mut ways = std::collections::VecDeque::from([vec![from.clone()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for import in graph.get(way.last()?).into_iter().flatten() {
            let way = [way.as_slice(), std::slice::from_ref(import)].concat();
            if import == from {
                return Some(way);
            }
            if seen.insert(import.clone()) {
                ways.push_back(way);
            }
        }
    }
    None
}

#[test]
fn a_cycle_between_a_module_and_its_descendants_does_not_count() {
    let module = |name: &str| -> Module {
        let names = name.split('/').filter(|n| !n.is_empty());
        names.map(str::to_owned).collect()
    };
    let graph = |imports: &[(&str, &str)]| {
        let mut graph = Graph::new();
        for (from, to) in imports {
            graph.entry(module(from)).or_default().insert(module(to));
            graph.entry(module(to)).or_default();
        }
        cycles(&graph).len()
    };
    assert_eq!(graph(&[("a", "b"), ("b", "c"), ("a", "c")]), 0);
    assert_eq!(graph(&[("a", "b"), ("b", "a")]), 1);
    assert_eq!(graph(&[("a", "b"), ("b", "c"), ("c", "a")]), 1);
    assert_eq!(graph(&[("a", "a/b"), ("a/b", "a")]), 0);
    assert_eq!(graph(&[("", "a"), ("a", ""), ("", "b"), ("b", "")]), 0);
    assert_eq!(graph(&[("", "a"), ("a", ""), ("a", "b"), ("b", "a")]), 1);
    assert_eq!(graph(&[("a/b", "a/c"), ("a/c", "a/b"), ("a", "a/b")]), 1);
    assert_eq!(graph(&[("a", "b"), ("b", "b/c"), ("b/c", "a")]), 1);
}
