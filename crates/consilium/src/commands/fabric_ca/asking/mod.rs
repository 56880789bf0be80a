//! `fabric-ca-client`. fabric-ca: cmd/fabric-ca-client/command

mod actions;
mod attributes;
mod certificate_text;
mod configuration;
mod identity;
mod register;

use anyhow::bail;
use clap::{Arg, ArgMatches, Command};

use super::{
    flags::{Flag, Kind, flag, given, short, with_flags},
    log,
};
use crate::commands::golang;
use configuration::Client;
pub(crate) use configuration::{
    Address, KeyPair, KeyRequest, Names, Tls, connect, host_name, subject, told,
};
use register::Managed;

/// Flags of every command.
const FLAGS: &[Flag] = &[
    flag("caname", Kind::Text, "Name of CA"),
    flag(
        "csr.cn",
        Kind::Text,
        "The common name field of the certificate signing request",
    ),
    flag(
        "csr.hosts",
        Kind::List,
        "A list of comma-separated host names in a certificate signing request",
    ),
    flag("csr.keyrequest.algo", Kind::Text, "Specify key algorithm"),
    flag(
        "csr.keyrequest.reusekey",
        Kind::Truth,
        "Reuse existing key during reenrollment",
    ),
    flag("csr.keyrequest.size", Kind::Number, "Specify key size"),
    flag(
        "csr.names",
        Kind::List,
        "A list of comma-separated CSR names of the form <name>=<value> (e.g. C=CA,O=Org1)",
    ),
    flag(
        "csr.serialnumber",
        Kind::Text,
        "The serial number in a certificate signing request",
    ),
    short("debug", 'd', Kind::Truth, "Enable debug level logging"),
    flag(
        "enrollment.attrs",
        Kind::List,
        "A list of comma-separated attribute requests of the form <name>[:opt] (e.g. foo,bar:opt)",
    ),
    flag(
        "enrollment.label",
        Kind::Text,
        "Label to use in HSM operations; read and passed over",
    ),
    flag(
        "enrollment.profile",
        Kind::Text,
        "Name of the signing profile to use in issuing the certificate",
    ),
    flag(
        "enrollment.type",
        Kind::Text,
        "The type of enrollment request: 'x509'; 'idemix' is not supported",
    ),
    flag("id.affiliation", Kind::Text, "The identity's affiliation"),
    flag(
        "id.attrs",
        Kind::List,
        "A list of comma-separated attributes of the form <name>=<value> (e.g. foo=foo1,bar=bar1)",
    ),
    flag(
        "id.maxenrollments",
        Kind::Number,
        "The maximum number of times the secret can be reused to enroll (default CA's Max Enrollment)",
    ),
    flag("id.name", Kind::Text, "Unique name of the identity"),
    flag(
        "id.secret",
        Kind::Text,
        "The enrollment secret for the identity being registered",
    ),
    flag(
        "id.type",
        Kind::Text,
        "Type of identity being registered (e.g. 'peer, app, user') (default \"client\")",
    ),
    flag("idemix.curve", Kind::Text, "Read and passed over"),
    flag(
        "loglevel",
        Kind::Text,
        "Set logging level (info, warning, debug, error, fatal, critical)",
    ),
    short(
        "mspdir",
        'M',
        Kind::Text,
        "Membership Service Provider directory (default \"msp\")",
    ),
    short(
        "myhost",
        'm',
        Kind::Text,
        "Hostname to include in the certificate signing request during enrollment (default this machine's)",
    ),
    short(
        "revoke.aki",
        'a',
        Kind::Text,
        "AKI (Authority Key Identifier) of the certificate to be revoked",
    ),
    short(
        "revoke.name",
        'e',
        Kind::Text,
        "Identity whose certificates should be revoked",
    ),
    short("revoke.reason", 'r', Kind::Text, "Reason for revocation"),
    short(
        "revoke.serial",
        's',
        Kind::Text,
        "Serial number of the certificate to be revoked",
    ),
    flag(
        "tls.certfiles",
        Kind::List,
        "A list of comma-separated PEM-encoded trusted certificate files (e.g. root1.pem,root2.pem)",
    ),
    flag(
        "tls.client.certfile",
        Kind::Text,
        "PEM-encoded certificate file when mutual authenticate is enabled",
    ),
    flag(
        "tls.client.keyfile",
        Kind::Text,
        "PEM-encoded key file when mutual authentication is enabled",
    ),
    short(
        "url",
        'u',
        Kind::Text,
        "URL of fabric-ca-server (default \"http://localhost:7054\")",
    ),
];

const CRL_FLAGS: &[Flag] = &[
    flag(
        "expireafter",
        Kind::Text,
        "Generate CRL with certificates that expire after this UTC timestamp (in RFC3339 format)",
    ),
    flag(
        "expirebefore",
        Kind::Text,
        "Generate CRL with certificates that expire before this UTC timestamp (in RFC3339 format)",
    ),
    flag(
        "revokedafter",
        Kind::Text,
        "Generate CRL with certificates that were revoked after this UTC timestamp (in RFC3339 format)",
    ),
    flag(
        "revokedbefore",
        Kind::Text,
        "Generate CRL with certificates that were revoked before this UTC timestamp (in RFC3339 format)",
    ),
];

const IDENTITY_FLAGS: &[Flag] = &[
    flag("affiliation", Kind::Text, "The identity's affiliation"),
    flag(
        "attrs",
        Kind::List,
        "A list of comma-separated attributes of the form <name>=<value> (e.g. foo=foo1,bar=bar1)",
    ),
    flag("json", Kind::Text, "JSON string for the identity"),
    flag(
        "maxenrollments",
        Kind::Number,
        "The maximum number of times the secret can be reused to enroll",
    ),
    flag(
        "secret",
        Kind::Text,
        "The enrollment secret for the identity",
    ),
    flag(
        "type",
        Kind::Text,
        "Type of identity (e.g. 'peer, app, user') (default of add \"user\")",
    ),
];

const CERTIFICATE_FLAGS: &[Flag] = &[
    flag("aki", Kind::Text, "Get certificates for this AKI"),
    flag(
        "expiration",
        Kind::Text,
        "Get certificates which expire between the UTC timestamp (RFC3339 format) or duration specified (e.g. <begin_time>::<end_time>)",
    ),
    flag("id", Kind::Text, "Get certificates for this enrollment ID"),
    flag(
        "notexpired",
        Kind::Truth,
        "Don't return expired certificates",
    ),
    flag(
        "notrevoked",
        Kind::Truth,
        "Don't return revoked certificates",
    ),
    flag(
        "revocation",
        Kind::Text,
        "Get certificates that were revoked between the UTC timestamp (RFC3339 format) or duration specified (e.g. <begin_time>::<end_time>)",
    ),
    flag(
        "serial",
        Kind::Text,
        "Get certificates for this serial number",
    ),
    flag(
        "store",
        Kind::Text,
        "Store requested certificates in this location",
    ),
];

const FORCE: &[Flag] = &[flag(
    "force",
    Kind::Truth,
    "Do it even if identities or affiliations are affected",
)];
const GENCRL: &[Flag] = &[flag(
    "gencrl",
    Kind::Truth,
    "Generates a CRL that contains all revoked certificates",
)];
const IDENTITY_LIST: &[Flag] = &[flag(
    "id",
    Kind::Text,
    "Get identity information from the fabric-ca server",
)];
const AFFILIATION_LIST: &[Flag] = &[flag(
    "affiliation",
    Kind::Text,
    "Get affiliation information from the fabric-ca server",
)];
const AFFILIATION_NAME: &[Flag] = &[
    flag("name", Kind::Text, "Rename the affiliation"),
    flag(
        "force",
        Kind::Truth,
        "Forces identities using old affiliation to use new affiliation",
    ),
];

/// What follows the flags.
const ARGUMENTS: &str = "arguments";

pub(super) fn command() -> Command {
    let text = |name: &'static str, short, help: &'static str| {
        Arg::new(name)
            .long(name)
            .short(short)
            .global(true)
            .help(help)
            .value_name("string")
    };
    let command = Command::new("fabric-ca-client")
        .about("Hyperledger Fabric Certificate Authority Client, spoken by Consilium")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_version_flag(true)
        .max_term_width(100)
        .arg(text("config", 'c', "Configuration file").hide(true))
        .arg(text(
            "home",
            'H',
            "Client's home directory (default \"$HOME/.fabric-ca-client\")",
        ));
    let identity = group("identity", "Manage identities")
        .subcommand(leaf("list", "List identities", IDENTITY_LIST))
        .subcommand(leaf("add", "Add identity", IDENTITY_FLAGS))
        .subcommand(leaf("modify", "Modify identity", IDENTITY_FLAGS))
        .subcommand(leaf("remove", "Remove identity", FORCE));
    let affiliation = group("affiliation", "Manage affiliations")
        .subcommand(leaf("list", "List affiliations", AFFILIATION_LIST))
        .subcommand(leaf("add", "Add affiliation", FORCE))
        .subcommand(leaf("modify", "Modify affiliation", AFFILIATION_NAME))
        .subcommand(leaf("remove", "Remove affiliation", FORCE));
    let certificate = group("certificate", "Manage certificates").subcommand(leaf(
        "list",
        "List certificates",
        CERTIFICATE_FLAGS,
    ));
    with_flags(command, FLAGS, true)
        .subcommand(leaf("enroll", "Enroll an identity", &[]))
        .subcommand(leaf("reenroll", "Reenroll an identity", &[]))
        .subcommand(leaf("register", "Register an identity", &[]))
        .subcommand(leaf("revoke", "Revoke an identity", GENCRL))
        .subcommand(leaf("gencrl", "Generate a CRL", CRL_FLAGS))
        .subcommand(leaf("gencsr", "Generate a CSR", &[]))
        .subcommand(leaf("getcainfo", "Get CA certificate chain", &[]).alias("getcacert"))
        .subcommand(identity)
        .subcommand(affiliation)
        .subcommand(certificate)
        .subcommand(leaf("version", "Prints Fabric CA Client version", &[]))
}

fn group(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .subcommand_required(true)
        .arg_required_else_help(true)
}

fn leaf(name: &'static str, about: &'static str, flags: &[Flag]) -> Command {
    let command = Command::new(name)
        .about(about)
        .arg(Arg::new(ARGUMENTS).num_args(0..).hide(true));
    with_flags(command, flags, false)
}

pub(super) async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    // The command line has a command, and a group one of its own.
    let Some((name, at)) = matches.subcommand() else {
        bail!("a command is missing");
    };
    let arguments: Vec<&str> = words(at);
    if !matches!(name, "identity" | "affiliation" | "certificate") && !arguments.is_empty() {
        bail!("Unrecognized arguments found: [{}]", arguments.join(" "));
    }
    match name {
        "version" => {
            println!("{}", golang::version("fabric-ca-client"));
            Ok(())
        }
        "enroll" => Client::open(at, FLAGS, "enroll")?.enroll().await,
        "reenroll" => Client::open(at, FLAGS, name)?.reenroll().await,
        "register" => Client::open(at, FLAGS, name)?.register().await,
        "revoke" => {
            let crl = given(at, GENCRL)
                .get("gencrl")
                .is_some_and(|it| it == "true");
            Client::open(at, FLAGS, name)?.revoke(crl).await
        }
        "gencrl" => {
            Client::open(at, FLAGS, name)?
                .generate_crl(&given(at, CRL_FLAGS))
                .await
        }
        "gencsr" => Client::open(at, FLAGS, name)?.generate_csr(),
        "getcainfo" => Client::open(at, FLAGS, name)?.ca_info().await,
        _ => {
            let Some((below, at)) = at.subcommand() else {
                bail!("a command is missing");
            };
            manage(name, below, at).await
        }
    }
}

/// Commands on identities, affiliations and certificates.
async fn manage(group: &str, name: &str, at: &ArgMatches) -> anyhow::Result<()> {
    if name == "list" {
        // What is listed is not to be mixed with what was done.
        log::set_level("warning");
        let client = Client::open(at, FLAGS, group)?;
        return match group {
            "identity" => {
                client
                    .list_identities(given(at, IDENTITY_LIST).get("id"))
                    .await
            }
            "affiliation" => {
                let flags = given(at, AFFILIATION_LIST);
                client.list_affiliations(flags.get("affiliation")).await
            }
            _ => {
                client
                    .list_certificates(&given(at, CERTIFICATE_FLAGS))
                    .await
            }
        };
    }
    let what = match group {
        "identity" => "Identity",
        _ => "affiliation",
    };
    let subject = match words(at)[..] {
        [] => bail!("{what} name is required"),
        [subject] => subject,
        [_, second, ..] => bail!(
            "Unknown argument '{second}', only the identity name should be passed in as non-flag \
             argument"
        ),
    };
    let managed = Managed {
        subject,
        flags: match (group, name) {
            ("identity", "add" | "modify") => given(at, IDENTITY_FLAGS),
            ("affiliation", "modify") => given(at, AFFILIATION_NAME),
            _ => given(at, FORCE),
        },
    };
    let client = Client::open(at, FLAGS, group)?;
    match (group, name) {
        ("identity", "add") => client.add_identity(managed).await,
        ("identity", "modify") => client.modify_identity(managed).await,
        ("identity", _) => client.remove_identity(managed).await,
        (_, "add") => client.add_affiliation(managed).await,
        (_, "modify") => client.modify_affiliation(managed).await,
        _ => client.remove_affiliation(managed).await,
    }
}

fn words(at: &ArgMatches) -> Vec<&str> {
    let words = at.try_get_many::<String>(ARGUMENTS).ok().flatten();
    words
        .map(|words| words.map(String::as_str).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }
}
