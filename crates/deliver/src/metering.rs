//! Metrics of Deliver, under Fabric's names.

use consilium_proto::orderer::seek_info::SeekContentType;

use crate::request::SeekRequest;

/// Counts a stream as closed when it is dropped, however it ended.
pub(crate) struct CountClosed;

impl Drop for CountClosed {
    fn drop(&mut self) {
        metrics::counter!("deliver_streams_closed").increment(1);
    }
}

/// What the metrics of one request are labelled with.
pub(crate) struct Labels([(&'static str, String); 3]);

impl Labels {
    pub(crate) fn new(request: &SeekRequest, filtered: bool) -> Self {
        let headers = request.seek.content_type == SeekContentType::HeaderWithSig as i32;
        Self([
            ("channel", request.channel.clone()),
            ("filtered", filtered.to_string()),
            (
                "data_type",
                if headers { "header_with_sig" } else { "block" }.to_owned(),
            ),
        ])
    }

    pub(crate) fn received(&self) {
        metrics::counter!("deliver_requests_received", &self.0).increment(1);
    }

    pub(crate) fn completed(&self, success: bool) {
        let [channel, filtered, data_type] = self.0.clone();
        let labels = [
            channel,
            filtered,
            data_type,
            ("success", success.to_string()),
        ];
        metrics::counter!("deliver_requests_completed", &labels).increment(1);
    }

    pub(crate) fn sent(&self) {
        metrics::counter!("deliver_blocks_sent", &self.0).increment(1);
    }
}
