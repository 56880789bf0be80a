//! Metrics, under Fabric's names.

use std::time::Duration;

/// Describes the metrics once, for exporters.
pub(crate) fn describe() {
    use metrics::{describe_counter, describe_histogram};
    describe_counter!(
        "chaincode_execute_timeouts",
        "Chaincode executions (Init or Invoke) that timed out."
    );
    describe_counter!(
        "chaincode_launch_failures",
        "Chaincode launches that failed."
    );
    describe_counter!(
        "chaincode_launch_timeouts",
        "Chaincode launches that timed out."
    );
    describe_histogram!(
        "chaincode_launch_duration",
        "Time to launch a chaincode, in seconds."
    );
    describe_counter!(
        "chaincode_shim_requests_received",
        "Chaincode shim requests received."
    );
    describe_counter!(
        "chaincode_shim_requests_completed",
        "Chaincode shim requests completed."
    );
    describe_histogram!(
        "chaincode_shim_request_duration",
        "Time to complete chaincode shim requests, in seconds."
    );
}

pub(crate) fn execute_timeout(chaincode: &str) {
    metrics::counter!("chaincode_execute_timeouts", "chaincode" => chaincode.to_owned())
        .increment(1);
}

pub(crate) fn launched(chaincode: &str, took: Duration, success: bool) {
    let chaincode = chaincode.to_owned();
    if !success {
        metrics::counter!("chaincode_launch_failures", "chaincode" => chaincode.clone())
            .increment(1);
    }
    metrics::histogram!("chaincode_launch_duration", "chaincode" => chaincode, "success" => success.to_string())
        .record(took.as_secs_f64());
}

pub(crate) fn launch_timeout(chaincode: &str) {
    metrics::counter!("chaincode_launch_timeouts", "chaincode" => chaincode.to_owned())
        .increment(1);
}

/// The labels of one shim request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) kind: &'static str,
    pub(crate) channel: String,
    pub(crate) chaincode: String,
}

impl Request {
    pub(crate) fn received(&self) {
        metrics::counter!(
            "chaincode_shim_requests_received",
            "type" => self.kind, "channel" => self.channel.clone(), "chaincode" => self.chaincode.clone()
        )
        .increment(1);
    }

    pub(crate) fn completed(self, took: Duration, success: bool) {
        let success = success.to_string();
        metrics::counter!(
            "chaincode_shim_requests_completed",
            "type" => self.kind, "channel" => self.channel.clone(),
            "chaincode" => self.chaincode.clone(), "success" => success.clone()
        )
        .increment(1);
        metrics::histogram!(
            "chaincode_shim_request_duration",
            "type" => self.kind, "channel" => self.channel, "chaincode" => self.chaincode, "success" => success
        )
        .record(took.as_secs_f64());
    }
}
