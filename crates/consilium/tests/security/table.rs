//! Who tries what where, and the answer.

use std::fmt;

/// Where a node can be spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    Endorser,
    Gateway,
    Deliver,
    Discovery,
    Gossip,
    Broadcast,
    Cluster,
    Participation,
    Operations,
    Ca,
    Chaincode,
    Package,
}

impl Entry {
    pub const ALL: [Entry; 12] = [
        Entry::Endorser,
        Entry::Gateway,
        Entry::Deliver,
        Entry::Discovery,
        Entry::Gossip,
        Entry::Broadcast,
        Entry::Cluster,
        Entry::Participation,
        Entry::Operations,
        Entry::Ca,
        Entry::Chaincode,
        Entry::Package,
    ];

    fn title(self) -> &'static str {
        match self {
            Entry::Endorser => "Endorser of a peer",
            Entry::Gateway => "Gateway of a peer",
            Entry::Deliver => "Deliver of a peer",
            Entry::Discovery => "Discovery of a peer",
            Entry::Gossip => "Gossip of a peer",
            Entry::Broadcast => "Broadcast of an orderer",
            Entry::Cluster => "Replication between orderers",
            Entry::Participation => "Channel participation of an orderer (REST)",
            Entry::Operations => "Operations of a node (REST)",
            Entry::Ca => "Certificate authority (REST)",
            Entry::Chaincode => "Listener for chaincode that a peer starts",
            Entry::Package => "Packages for external builders",
        }
    }
}

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    NoCertificate,
    OtherOrganization,
    Expired,
    Revoked,
    SelfSigned,
    WrongUsage,
    WrongHost,
    ReplayedToken,
    TamperedToken,
    WrongAffiliation,
    Escalation,
    PathTraversal,
    OversizeBody,
    SlowBody,
    ManyConnections,
}

impl Attack {
    pub const ALL: [Attack; 15] = [
        Attack::NoCertificate,
        Attack::OtherOrganization,
        Attack::Expired,
        Attack::Revoked,
        Attack::SelfSigned,
        Attack::WrongUsage,
        Attack::WrongHost,
        Attack::ReplayedToken,
        Attack::TamperedToken,
        Attack::WrongAffiliation,
        Attack::Escalation,
        Attack::PathTraversal,
        Attack::OversizeBody,
        Attack::SlowBody,
        Attack::ManyConnections,
    ];
}

impl fmt::Display for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&format!("{self:?}").to_lowercase())
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Attack::NoCertificate => "no certificate",
            Attack::OtherOrganization => "another organization's",
            Attack::Expired => "expired",
            Attack::Revoked => "revoked",
            Attack::SelfSigned => "self-signed",
            Attack::WrongUsage => "wrong usage",
            Attack::WrongHost => "wrong host",
            Attack::ReplayedToken => "replayed token",
            Attack::TamperedToken => "tampered token",
            Attack::WrongAffiliation => "wrong affiliation",
            Attack::Escalation => "escalation by attributes",
            Attack::PathTraversal => "path traversal",
            Attack::OversizeBody => "oversize body",
            Attack::SlowBody => "slow body",
            Attack::ManyConnections => "ten thousand connections",
        })
    }
}

/// A cell of the table.
#[derive(Debug, Clone, Copy)]
pub enum Cell {
    /// This answer is given, and this suite asks for it.
    Here(&'static str),
    /// This answer is given, and another test (`file::test`) asks for it.
    Elsewhere(&'static str, &'static str),
    /// There is nothing to try, for this reason.
    Senseless(&'static str),
}

/// All cells.
pub fn cells() -> impl Iterator<Item = (Entry, Attack, Cell)> {
    Entry::ALL.into_iter().flat_map(|entry| {
        let row = crate::cells::of(entry);
        row.into_iter()
            .map(move |(attack, cell)| (entry, attack, cell))
    })
}

/// The table as the documentation has it.
pub fn render() -> String {
    let mut text = String::new();
    for entry in Entry::ALL {
        text.push_str(&format!("\n### {}\n\n", entry.title()));
        text.push_str("| attempt | answer | test |\n| --- | --- | --- |\n");
        for (attack, cell) in crate::cells::of(entry) {
            let (answer, test) = match cell {
                Cell::Here(answer) => (answer, format!("`{entry}/{attack}`")),
                Cell::Elsewhere(answer, test) => {
                    let (file, name) = test.split_once("::").unwrap_or(("", test));
                    (answer, format!("`{name}` in `{file}`"))
                }
                Cell::Senseless(reason) => (reason, "—".to_owned()),
            };
            let answer = answer.replace('|', "\\|");
            text.push_str(&format!("| {attack} | {answer} | {test} |\n"));
        }
    }
    text.push('\n');
    text
}
