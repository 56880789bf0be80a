//! Metrics of Deliver, under Fabric's names.
//!
//! fabric: common/deliver/metrics.go

use metrics::{Counter, Label, SharedString, counter, describe_counter};

/// Tells exporters what the metrics of this crate mean.
pub fn describe_metrics() {
    describe_counter!(
        "deliver_streams_opened",
        "The number of GRPC streams that have been opened for the deliver service."
    );
    describe_counter!(
        "deliver_streams_closed",
        "The number of GRPC streams that have been closed for the deliver service."
    );
    describe_counter!(
        "deliver_requests_received",
        "The number of deliver requests that have been received."
    );
    describe_counter!(
        "deliver_requests_completed",
        "The number of deliver requests that have been completed."
    );
    describe_counter!(
        "deliver_blocks_sent",
        "The number of blocks sent by the deliver service."
    );
}

/// A stream that counts as open while this lives, however it ends.
pub(crate) struct OpenStream(());

impl OpenStream {
    pub(crate) fn count() -> Self {
        counter!("deliver_streams_opened").increment(1);
        Self(())
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        counter!("deliver_streams_closed").increment(1);
    }
}

/// One request that was received for a channel of this node. Dropped before its outcome was told,
/// it counts as completed without success.
pub(crate) struct Metered {
    labels: Vec<Label>,
    sent: Counter,
    success: bool,
}

impl Metered {
    /// Counts a request; `data_type` is what the call sends.
    pub(crate) fn received(channel: &str, data_type: &'static str) -> Self {
        let filtered = data_type == "filtered_block";
        let labels = vec![
            Label::new("channel", SharedString::from_owned(channel.to_owned())),
            Label::new("filtered", if filtered { "true" } else { "false" }),
            Label::new("data_type", data_type),
        ];
        counter!("deliver_requests_received", labels.clone()).increment(1);
        Self {
            sent: counter!("deliver_blocks_sent", labels.clone()),
            labels,
            success: false,
        }
    }

    /// A block was sent.
    pub(crate) fn sent(&self) {
        self.sent.increment(1);
    }

    /// Tells the outcome.
    pub(crate) fn completed(mut self, success: bool) {
        self.success = success;
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        let mut labels = std::mem::take(&mut self.labels);
        let success = if self.success { "true" } else { "false" };
        labels.push(Label::new("success", success));
        counter!("deliver_requests_completed", labels).increment(1);
    }
}
