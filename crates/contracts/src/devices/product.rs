//! Device models: registration, certification, packages.

use serde::Deserialize;

use super::model::{Certificate, Label, Package, Product, ProductState};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;
use crate::udi::{Agency, CarrierError};

const MAX_DOCUMENTS: usize = 64;

/// A device identifier as it is kept: 422 `BAD_CHECK_DIGIT`, or 400 when it is none at all. Its
/// first character says which agency issued it.
pub(super) fn device_identifier(text: &str) -> Result<String, Failure> {
    identifier_of(Agency::of_text(text), text)
}

fn identifier_of(agency: Agency, text: &str) -> Result<String, Failure> {
    agency.device_identifier(text).map_err(|error| match error {
        CarrierError::CheckDigit(why) => Failure::rule("BAD_CHECK_DIGIT", why),
        CarrierError::Malformed(_) => Failure::malformed(error.to_string()),
    })
}

pub(super) fn load(call: &mut Call<'_>, di: &str) -> Result<Product, Failure> {
    let di = device_identifier(di)?;
    call.load("prod", &[&di])?
        .ok_or_else(|| Failure::not_found(format!("no product {di}")))
}

fn need_state(call: &Call<'_>, product: &Product, needed: &[ProductState]) -> Result<(), Failure> {
    if needed.contains(&product.state) {
        return Ok(());
    }
    let names: Vec<_> = needed.iter().map(|state| state.name()).collect();
    Err(Failure::conflict(
        "BAD_STATE",
        format!(
            "product {} is {}, {} needs {}",
            product.di,
            product.state.name(),
            call.function(),
            names.join(" or ")
        ),
    ))
}

pub(super) fn need_registrant(call: &Call<'_>, product: &Product) -> Result<(), Failure> {
    if product.registrant == call.msp() {
        return Ok(());
    }
    Err(Failure::forbidden(
        "NOT_REGISTRANT",
        format!(
            "product {} is registered by {}",
            product.di, product.registrant
        ),
    ))
}

fn save(
    call: &mut Call<'_>,
    mut product: Product,
    event: &'static str,
    reference: &str,
) -> Result<Outcome, Failure> {
    product.at = call.now;
    call.store("prod", &[&product.di], &product)?;
    let state = product.state.name();
    Ok(Outcome::changed(&product.di, state).event(call, event, &product.di, state, reference))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterProduct {
    product: NewProduct,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewProduct {
    di: String,
    #[serde(default = "super::model::gs1")]
    issuer: String,
    name: String,
    model: String,
    label: Label,
}

pub(super) fn register(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Maker], &["regulatory"])?;
    let RegisterProduct { product } = call.args()?;
    let agency = Agency::of_name(&product.issuer).ok_or_else(|| {
        Failure::rule(
            "UNKNOWN_ISSUER",
            "device identifiers of GS1, HIBCC and ICCBBA are registered, those of other agencies not yet",
        )
    })?;
    let di = identifier_of(agency, &product.di)?;
    fields::public_text("name", &product.name)?;
    fields::public_text("model", &product.model)?;
    if call.exists("prod", &[&di])? || call.exists("pkg", &[&di])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("product {di} exists"),
        ));
    }
    let product = Product {
        di,
        issuer: agency.name().to_owned(),
        registrant: call.msp().to_owned(),
        name: product.name,
        model: product.model,
        label: product.label,
        state: ProductState::Draft,
        certificate: None,
        reason: None,
        at: call.now,
    };
    save(call, product, "ProductRegistered", "")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SubmitCertification {
    di: String,
    cert_no: String,
    #[serde(rename = "type")]
    kind: String,
    doc_hashes: Vec<String>,
}

pub(super) fn submit(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Maker], &["regulatory"])?;
    let args: SubmitCertification = call.args()?;
    fields::code("certNo", &args.cert_no)?;
    fields::code("type", &args.kind)?;
    fields::count("docHashes", args.doc_hashes.len(), MAX_DOCUMENTS)?;
    for hash in &args.doc_hashes {
        fields::hash("docHashes", hash)?;
    }
    let mut product = load(call, &args.di)?;
    need_registrant(call, &product)?;
    need_state(
        call,
        &product,
        &[ProductState::Draft, ProductState::Suspended],
    )?;
    if call.exists("cert", &[&args.cert_no])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("certificate {} exists", args.cert_no),
        ));
    }
    call.store("cert", &[&args.cert_no], &product.di)?;
    product.certificate = Some(Certificate {
        no: args.cert_no.clone(),
        kind: args.kind,
        doc_hashes: args.doc_hashes,
        valid_from: None,
        valid_to: None,
    });
    product.state = ProductState::Submitted;
    save(call, product, "CertificationSubmitted", &args.cert_no)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Certify {
    di: String,
    cert_no: String,
    #[serde(default)]
    valid_from: Option<i64>,
    valid_to: i64,
}

pub(super) fn certify(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Regulator], &["certifier"])?;
    let args: Certify = call.args()?;
    let mut product = load(call, &args.di)?;
    need_state(call, &product, &[ProductState::Submitted])?;
    let from = args.valid_from.unwrap_or(call.now);
    if args.valid_to <= call.now || from >= args.valid_to {
        return Err(Failure::rule(
            "PERIOD",
            "a certificate ends in the future and after it begins",
        ));
    }
    match &mut product.certificate {
        Some(certificate) if certificate.no == args.cert_no => {
            certificate.valid_from = Some(from);
            certificate.valid_to = Some(args.valid_to);
        }
        _ => {
            return Err(Failure::rule(
                "OTHER_CERTIFICATE",
                format!(
                    "product {} was not submitted under {}",
                    product.di, args.cert_no
                ),
            ));
        }
    }
    product.state = ProductState::Certified;
    product.reason = None;
    save(call, product, "ProductCertified", &args.cert_no)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WithReason {
    di: String,
    reason: String,
}

fn regulate(
    call: &mut Call<'_>,
    from: &[ProductState],
    to: ProductState,
    event: &'static str,
) -> Result<Outcome, Failure> {
    call.require(&[Part::Regulator], &["certifier"])?;
    let args: WithReason = call.args()?;
    fields::code("reason", &args.reason)?;
    let mut product = load(call, &args.di)?;
    need_state(call, &product, from)?;
    product.state = to;
    product.reason = Some(args.reason.clone());
    save(call, product, event, &args.reason)
}

pub(super) fn refuse(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    regulate(
        call,
        &[ProductState::Submitted],
        ProductState::Draft,
        "ProductRefused",
    )
}

pub(super) fn suspend(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    regulate(
        call,
        &[ProductState::Certified],
        ProductState::Suspended,
        "ProductSuspended",
    )
}

pub(super) fn withdraw(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    regulate(
        call,
        &[ProductState::Certified, ProductState::Suspended],
        ProductState::Withdrawn,
        "ProductWithdrawn",
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RegisterPackage {
    pkg_di: String,
    contains_di: String,
    qty: u32,
}

pub(super) fn register_package(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Maker], &["regulatory"])?;
    let args: RegisterPackage = call.args()?;
    let di = device_identifier(&args.pkg_di)?;
    let contains = device_identifier(&args.contains_di)?;
    if args.qty == 0 {
        return Err(Failure::malformed("qty is at least 1"));
    }
    let inner: Option<Product> = call.load("prod", &[&contains])?;
    let registrant = match inner {
        Some(product) => Some(product.registrant),
        None => call
            .load::<Package>("pkg", &[&contains])?
            .map(|package| package.registrant),
    };
    let registrant = registrant.ok_or_else(|| {
        Failure::rule(
            "UNKNOWN_CONTAINED_DI",
            format!("package {di} contains {contains}, which is not registered"),
        )
    })?;
    if registrant != call.msp() {
        return Err(Failure::forbidden(
            "NOT_REGISTRANT",
            format!("{contains} is registered by {registrant}"),
        ));
    }
    if call.exists("prod", &[&di])? || call.exists("pkg", &[&di])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("package {di} exists"),
        ));
    }
    let package = Package {
        di,
        contains,
        quantity: args.qty,
        registrant,
    };
    call.store("pkg", &[&package.di], &package)?;
    Ok(Outcome::changed(&package.di, "Active").event(
        call,
        "PackageRegistered",
        &package.di,
        "Active",
        &package.contains,
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByDi {
    di: String,
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByDi = call.args()?;
    Ok(Outcome::of(&load(call, &args.di)?))
}
