//! The rules as text: what `iptables-save` prints and what `iptables-restore` is given. Pure.
//!
//! Rules are written in the very form in which `iptables-save` prints them, so that "is it in place" is a comparison of
//! lines. Everything of ours is in chains of ours, always written as a whole; of the chains of others only the jump to
//! ours is touched.

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use crate::ports::facts::NetworkFacts;
use crate::values::forward::{Forward, SwitchedPorts};

/// Our chain, in `nat` and in `filter`.
const CHAIN: &str = "BALEHOOK";

/// Our chain behind POSTROUTING: requests that would be answered past us.
const SOURCE: &str = "BALEHOOK-SOURCE";

/// Where the engine lets its users decide before it does.
pub(crate) const DOCKER_USER: &str = "DOCKER-USER";

/// Where the ports of one name lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) name: String,
    pub(crate) to: SwitchedPorts,
}

/// Which of the kernel's two sets of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// `iptables`.
    V4,
    /// `ip6tables`.
    V6,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    chains: BTreeSet<String>,
    rules: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tables {
    filter: Table,
    nat: Table,
}

/// A chain of ours, as a whole.
struct Chain {
    name: &'static str,
    rules: Vec<String>,
}

/// A rule of ours in a chain of others, and the rule that it must stand before.
struct Jump {
    chain: &'static str,
    rule: String,
    before: &'static str,
    first: bool,
}

struct Wanted {
    name: &'static str,
    chains: Vec<Chain>,
    jumps: Vec<Jump>,
}

impl Tables {
    pub(crate) fn parse(text: &str) -> Self {
        let mut tables = Self::default();
        let mut other = Table::default();
        let mut now = "";
        for line in text.lines() {
            let table = match now {
                "filter" => &mut tables.filter,
                "nat" => &mut tables.nat,
                _ => &mut other,
            };
            if let Some(name) = line.strip_prefix('*') {
                now = name;
            } else if let Some(chain) = line.strip_prefix(':') {
                table.chains.extend(chain.split(' ').next().map(str::to_owned));
            } else if line.starts_with("-A ") {
                table.rules.push(line.to_owned());
            }
        }
        tables
    }

    pub(crate) fn has_docker_user(&self) -> bool {
        self.filter.chains.contains(DOCKER_USER)
    }

    /// Whether the rules lead the ports of `route` to where it says, and no other of its name are there.
    pub(crate) fn switch_to(&self, family: Family, network: &NetworkFacts, route: &Route) -> bool {
        let wanted = wanted(family, network, std::slice::from_ref(route), self);
        let [filter, nat] = &wanted;
        let own = nat.chains.iter().find(|chain| chain.name == CHAIN).map(|chain| &chain.rules[..]).unwrap_or_default();
        let mark = mark(&route.name);
        let there: Vec<String> =
            self.nat.of(CHAIN).map(|rule| unquoted(rule)).filter(|rule| rule.contains(&mark)).collect();
        there == own
            && self.filter.holds(&filter.chains)
            && self.nat.holds(nat.chains.iter().filter(|chain| chain.name != CHAIN))
            && filter.jumps.iter().all(|jump| self.filter.has(jump))
            && nat.jumps.iter().all(|jump| self.nat.has(jump))
    }

    pub(crate) fn has_name(&self, name: &str) -> bool {
        let mark = mark(name);
        self.nat.of(CHAIN).any(|rule| unquoted(rule).contains(&mark))
    }

    /// The names whose ports the rules lead anywhere.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let rules = self.nat.of(CHAIN).map(|rule| unquoted(rule));
        rules.filter_map(|rule| Some(rule.split_once(" --comment ")?.1.split(' ').next()?.to_owned())).collect()
    }

    /// The text for `iptables-restore --noflush` after which the rules are those of `routes`; empty where nothing is of
    /// ours and nothing shall be.
    pub(crate) fn transaction(&self, family: Family, network: &NetworkFacts, routes: &[Route]) -> String {
        let wanted = wanted(family, network, routes, self);
        let tables = [&self.filter, &self.nat];
        let write = if routes.is_empty() { Table::removal } else { Table::writing };
        wanted.iter().zip(tables).map(|(wanted, table)| write(table, wanted)).collect()
    }
}

impl Table {
    fn of<'a>(&'a self, chain: &'a str) -> impl Iterator<Item = &'a String> {
        self.rules.iter().filter(move |rule| chain_of(rule) == chain)
    }

    fn holds<'a>(&self, chains: impl IntoIterator<Item = &'a Chain>) -> bool {
        chains.into_iter().all(|chain| self.of(chain.name).map(|rule| unquoted(rule)).eq(chain.rules.iter().cloned()))
    }

    /// Whether the jump stands there once, and before what it must stand before.
    fn has(&self, jump: &Jump) -> bool {
        let rules: Vec<&String> = self.of(jump.chain).collect();
        let ours: Vec<usize> = (0..rules.len()).filter(|at| is_ours(rules[*at])).collect();
        let limit = rules.iter().position(|rule| is_before(rule, jump)).unwrap_or(rules.len());
        matches!(ours[..], [at] if *rules[at] == jump.rule && at < limit)
    }

    fn writing(&self, wanted: &Wanted) -> String {
        let mut text = format!("*{}\n", wanted.name);
        for chain in &wanted.chains {
            let _ = writeln!(text, ":{} - [0:0]", chain.name); // an existing chain is emptied by this
        }
        for rule in wanted.chains.iter().flat_map(|chain| &chain.rules) {
            let _ = writeln!(text, "{rule}");
        }
        for jump in wanted.jumps.iter().filter(|jump| !self.has(jump)) {
            text += &self.without(jump.chain);
            let others: Vec<&String> = self.of(jump.chain).filter(|rule| !is_ours(rule)).collect();
            let at = others.iter().position(|rule| is_before(rule, jump)).unwrap_or(others.len());
            let at = if jump.first { 0 } else { at };
            let _ = writeln!(text, "-I {} {} {}", jump.chain, at + 1, &jump.rule[4 + jump.chain.len()..]);
        }
        text + "COMMIT\n"
    }

    fn removal(&self, wanted: &Wanted) -> String {
        let chains: Vec<&Chain> = wanted.chains.iter().filter(|chain| self.chains.contains(chain.name)).collect();
        let jumps: String = wanted.jumps.iter().map(|jump| self.without(jump.chain)).collect();
        if chains.is_empty() && jumps.is_empty() {
            return String::new();
        }
        let each = |verb: &str| chains.iter().map(|chain| format!("{verb} {}\n", chain.name)).collect::<String>();
        format!("*{}\n{jumps}{}{}COMMIT\n", wanted.name, each("-F"), each("-X"))
    }

    /// What takes our jumps out of a chain of others.
    fn without(&self, chain: &str) -> String {
        self.of(chain).filter(|rule| is_ours(rule)).map(|rule| format!("-D{}\n", &rule[2..])).collect()
    }
}

/// By what a rule of a name is known.
fn mark(name: &str) -> String {
    format!(" --comment {name} ")
}

/// `-A CHAIN …`.
fn chain_of(rule: &str) -> &str {
    rule.split(' ').nth(1).unwrap_or_default()
}

/// Whether a rule of another chain jumps to ours.
fn is_ours(rule: &str) -> bool {
    matches!(rule.rsplit_once(" -j ").map(|(_, target)| target), Some(CHAIN | SOURCE))
}

fn is_before(rule: &str, jump: &Jump) -> bool {
    !jump.before.is_empty()
        && rule.ends_with(jump.before)
        && (!jump.before.ends_with("RETURN") || rule == format!("-A {}{}", jump.chain, jump.before))
}

/// A comment is printed with quotes where it has a dot.
fn unquoted(rule: &str) -> String {
    rule.replace('"', "")
}

fn wanted(family: Family, network: &NetworkFacts, routes: &[Route], now: &Tables) -> [Wanted; 2] {
    let bridge = &network.bridge;
    let user = if now.has_docker_user() { DOCKER_USER } else { "FORWARD" };
    let jump = |chain, rule: String, before, first| Jump { rule: format!("-A {chain} {rule}"), chain, before, first };
    let local = || format!("-m addrtype --dst-type LOCAL -j {CHAIN}");
    // The engine's own users come first, as with a published port.
    let mut filter_jumps = vec![jump(user, format!("-j {CHAIN}"), " -j RETURN", user == "FORWARD")];
    if family == Family::V4 {
        filter_jumps.push(jump("INPUT", format!("-i {bridge} -j {CHAIN}"), "", true));
    }
    let nat_jumps = vec![
        jump("PREROUTING", local(), " -j DOCKER", true),
        jump("OUTPUT", local(), " -j DOCKER", true),
        jump("POSTROUTING", format!("-o {bridge} -j {SOURCE}"), "", true),
    ];
    let forwards = routes.iter().flat_map(|route| route.to.forwards.iter().filter_map(|one| dnat(family, route, one)));
    let nat =
        vec![Chain { name: CHAIN, rules: forwards.collect() }, Chain { name: SOURCE, rules: source(family, network) }];
    let filter = vec![Chain { name: CHAIN, rules: accept(family, bridge) }];
    [
        Wanted { name: "filter", chains: filter, jumps: filter_jumps },
        Wanted { name: "nat", chains: nat, jumps: nat_jumps },
    ]
}

/// What was switched may pass, with its answers. With `route_localnet` a container could speak to 127.0.0.1 of the
/// host: it may not.
fn accept(family: Family, bridge: &str) -> Vec<String> {
    let mut rules = Vec::new();
    if family == Family::V4 {
        rules.push(format!(
            "-A {CHAIN} -d 127.0.0.0/8 -i {bridge} -m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP"
        ));
    }
    rules.push(format!("-A {CHAIN} -o {bridge} -m conntrack --ctstate DNAT -j ACCEPT"));
    rules.push(format!("-A {CHAIN} -i {bridge} -m conntrack --ctstate DNAT --ctdir REPLY -j ACCEPT"));
    rules
}

/// A request from 127.0.0.1, or from a container of the same network, would be answered past us: it gets our address.
fn source(family: Family, network: &NetworkFacts) -> Vec<String> {
    let from = match family {
        Family::V4 => vec!["127.0.0.0/8".to_owned(), format!("{}/{}", network.subnet.0, network.subnet.1)],
        Family::V6 => network.subnet6.iter().map(|(address, prefix)| format!("{address}/{prefix}")).collect(),
    };
    from.iter().map(|from| format!("-A {SOURCE} -s {from} -m conntrack --ctstate DNAT -j MASQUERADE")).collect()
}

fn dnat(family: Family, route: &Route, forward: &Forward) -> Option<String> {
    let to = match (family, route.to.address6) {
        (Family::V4, _) => format!("{}:{}", route.to.address, forward.target),
        (Family::V6, Some(address)) => format!("[{address}]:{}", forward.target),
        (Family::V6, None) => return None,
    };
    let at = match (family, forward.address) {
        (_, None) => String::new(),
        (Family::V4, Some(IpAddr::V4(address))) if address.is_unspecified() => String::new(),
        (Family::V4, Some(IpAddr::V4(address))) => format!("-d {address}/32 "),
        (Family::V6, Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED))) => String::new(),
        (Family::V6, Some(IpAddr::V6(address))) => format!("-d {address}/128 "),
        (Family::V4, Some(IpAddr::V6(_))) | (Family::V6, Some(IpAddr::V4(_))) => return None,
    };
    let (protocol, port, name) = (forward.protocol, forward.host, &route.name);
    Some(format!(
        "-A {CHAIN} {at}-p {protocol} -m {protocol} --dport {port} -m comment --comment {name} -j DNAT --to-destination {to}"
    ))
}
