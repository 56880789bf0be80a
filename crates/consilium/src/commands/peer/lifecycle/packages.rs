//! Packages: making, naming, installing and fetching them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use consilium_chaincode::{Package, PackageMetadata, package_source};
use consilium_client::{LIFECYCLE, lifecycle_args};
use consilium_proto::lifecycle::{
    GetInstalledChaincodePackageArgs, GetInstalledChaincodePackageResult,
    QueryInstalledChaincodesArgs, QueryInstalledChaincodesResult,
};
use consilium_protocol::names;
use serde::Serialize;

use super::{OutputArgs, TargetPeer, decoded, failed, one_peer, query, source};
use crate::commands::{
    golang,
    peer::{Environment, GoFlag, Rest, targets::TargetArgs},
};

/// Arguments of `package`.
#[derive(Debug, Args)]
pub struct PackageArgs {
    /// The package label contains a human-readable description of the package.
    #[arg(long, text())]
    label: String,
    /// Language the chaincode is written in: golang, java, node; ccaas for a folder with the
    /// connection.json of a service.
    #[arg(short, long, default_value = "golang", value_name = "LANGUAGE")]
    lang: String,
    /// Path to the chaincode.
    #[arg(short, long, text(), value_name = "FOLDER")]
    path: String,
    // Fabric takes these and does nothing with them.
    #[command(flatten)]
    _targets: TargetArgs,
    /// The file to write.
    #[arg(value_name = "OUTPUTFILE")]
    files: Vec<String>,
}

/// Arguments of `calculatepackageid`.
#[derive(Debug, Args)]
pub struct CalculateArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    _targets: TargetArgs,
    /// The package.
    #[arg(value_name = "PACKAGEFILE")]
    files: Vec<String>,
}

/// Arguments of `install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    #[command(flatten)]
    targets: TargetArgs,
    #[command(flatten)]
    target_peer: TargetPeer,
    /// The package.
    #[arg(value_name = "PACKAGEFILE")]
    files: Vec<String>,
}

/// Arguments of `queryinstalled`.
#[derive(Debug, Args)]
pub struct QueryInstalledArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    targets: TargetArgs,
    #[command(flatten)]
    target_peer: TargetPeer,
    #[command(flatten)]
    _rest: Rest,
}

/// Arguments of `getinstalledpackage`.
#[derive(Debug, Args)]
pub struct GetInstalledArgs {
    /// The identifier of the chaincode install package.
    #[arg(long = "package-id", text(), value_name = "ID")]
    package_id: String,
    /// The folder to write the package to. Default is the current one.
    #[arg(long = "output-directory", value_name = "FOLDER")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    targets: TargetArgs,
    #[command(flatten)]
    target_peer: TargetPeer,
    #[command(flatten)]
    _rest: Rest,
}

/// Makes a package of a folder.
///
/// # Errors
/// Something is missing, or the folder cannot be packaged.
pub fn package(args: &PackageArgs) -> anyhow::Result<()> {
    let [output] = args.files.as_slice() else {
        anyhow::bail!("invalid number of args. expected only the output file");
    };
    anyhow::ensure!(!args.path.is_empty(), "chaincode path must be specified");
    anyhow::ensure!(
        !args.lang.is_empty(),
        "chaincode language must be specified"
    );
    anyhow::ensure!(!output.is_empty(), "output file must be specified");
    anyhow::ensure!(!args.label.is_empty(), "package label must be specified");
    names::validate_label(&args.label)?;
    let source =
        source::Source::of(&args.lang, &args.path).context("failed to normalize chaincode path")?;
    let description = PackageMetadata {
        path: source.path.clone(),
        kind: args.lang.clone(),
        label: args.label.clone(),
    };
    let files = source.files().context("error getting chaincode bytes")?;
    let package = package_source(source.language, &description, &source.metadata, files)
        .context("error getting chaincode bytes")?;
    golang::write_file(Path::new(output), &package)
        .with_context(|| format!("error writing chaincode package to {output}"))
}

#[derive(Serialize)]
struct PackageId<'a> {
    package_id: &'a str,
}

/// Prints the id of a package.
///
/// # Errors
/// There is no file, or it is no package.
pub fn calculate(args: &CalculateArgs) -> anyhow::Result<()> {
    let [file] = args.files.as_slice() else {
        anyhow::bail!("invalid number of args. expected only the packaged chaincode file");
    };
    let package = Package::parse(&read(file)?);
    let id = package
        .context("could not parse as a chaincode install package")?
        .id;
    if args.output.is_json() {
        println!("{}", golang::indented(&PackageId { package_id: &id })?);
    } else {
        println!("{id}");
    }
    Ok(())
}

/// Installs a package.
///
/// # Errors
/// There is no file, or what the peer answered.
pub async fn install(environment: &Environment, args: &InstallArgs) -> anyhow::Result<()> {
    let named = args.files.first().map_or("", String::as_str);
    anyhow::ensure!(
        !named.is_empty(),
        "chaincode install package must be provided"
    );
    let package = Bytes::from(read(named)?);
    let target = &args.target_peer.target_peer;
    let admin = one_peer(environment, "install", None, &args.targets, target).await?;
    let id = admin.install(package).await.map_err(|error| {
        failed(
            "chaincode install failed",
            "failed to endorse chaincode install",
            &error,
        )
    })?;
    eprintln!("Chaincode code package identifier: {id}");
    Ok(())
}

/// Prints what is installed.
///
/// # Errors
/// What the peer answered.
pub async fn query_installed(
    environment: &Environment,
    args: &QueryInstalledArgs,
) -> anyhow::Result<()> {
    let (command, target) = ("queryinstalled", &args.target_peer.target_peer);
    let call = lifecycle_args("QueryInstalledChaincodes", &QueryInstalledChaincodesArgs {});
    let answer = query(environment, command, None, &args.targets, target, call).await?;
    if args.output.is_json() {
        let name = "lifecycle.QueryInstalledChaincodesResult";
        println!("{}", golang::json_indented(name, &answer)?);
        return Ok(());
    }
    let installed: QueryInstalledChaincodesResult = decoded(answer)?;
    println!("Installed chaincodes on peer:");
    for chaincode in installed.installed_chaincodes {
        println!(
            "Package ID: {}, Label: {}",
            chaincode.package_id, chaincode.label
        );
    }
    Ok(())
}

/// Writes an installed package to a file.
///
/// # Errors
/// What the peer answered, or the file cannot be written.
pub async fn get_installed(
    environment: &Environment,
    args: &GetInstalledArgs,
) -> anyhow::Result<()> {
    let id = &args.package_id;
    anyhow::ensure!(
        !id.is_empty(),
        "The required parameter 'package-id' is empty. Rerun the command with --package-id flag"
    );
    let target = &args.target_peer.target_peer;
    let command = "getinstalledpackage";
    let admin = one_peer(environment, command, None, &args.targets, target).await?;
    let call = GetInstalledChaincodePackageArgs {
        package_id: id.clone(),
    };
    let call = lifecycle_args("GetInstalledChaincodePackage", &call);
    let answer = admin.query("", LIFECYCLE, call).await;
    let answer =
        answer.map_err(|error| failed("proposal failed", "failed to endorse proposal", &error))?;
    let result: GetInstalledChaincodePackageResult = decoded(answer)?;
    let file = args.folder.clone().unwrap_or_default();
    let file = file.join(format!("{id}.tar.gz"));
    golang::write_file(&file, &result.chaincode_install_package)
        .with_context(|| format!("failed to write chaincode package to {}", file.display()))
}

fn read(file: &str) -> anyhow::Result<Vec<u8>> {
    golang::read_file(Path::new(file))
        .with_context(|| format!("failed to read chaincode package at '{file}'"))
}
