//! What cameras send over HTTP: JPEGs that replace each other (`multipart/x-mixed-replace`).

use gstreamer as gst;
use gstreamer::prelude::*;

/// Readies a pipeline in which `demuxer`, a `multipartdemux`, was found to be needed.
///
/// It would wait for parts of another kind before it says that there are no more streams, and no frame would
/// come before. The parts have no times: each gets that of its arrival.
pub(super) fn pictures_follow(pipeline: &gst::Pipeline, demuxer: &gst::Element) {
    demuxer.set_property("single-stream", true);
    for element in pipeline.iterate_recurse().into_iter().flatten() {
        if element.factory().is_some_and(|factory| factory.name() == "souphttpsrc") {
            element.set_property("do-timestamp", true);
        }
    }
}
