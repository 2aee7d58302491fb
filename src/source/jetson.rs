//! What NVIDIA's elements on a Jetson are told: no frame is held back that needs not be, and pictures leave NVMM memory in
//! the format that the pipeline reads. Not yet run on a Jetson.

use gstreamer as gst;
use gstreamer::prelude::*;

/// Profiles of H.264 without pictures that are shown later than others that follow them (ITU-T H.264, annex A.2).
const IN_ORDER: [&str; 3] = ["baseline", "constrained-baseline", "constrained-high"];

/// Sets what a decoder has of NVIDIA's switches; which exist differs by platform and release. The clock of the decoder goes
/// up, and on a live stream whose profile knows no reordering no picture waits for the next.
pub(super) fn settle_decoder(decoder: &gst::Element, live: bool) {
    switch_on(decoder, "enable-max-performance");
    let Some(pad) = decoder.static_pad("sink").filter(|_| live) else { return };
    if !["disable-dpb", "low-latency-mode"].iter().any(|name| is_switch(decoder, name)) {
        return;
    }
    let weak = decoder.downgrade();
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let (Some(decoder), Some(event)) = (weak.upgrade(), info.event())
            && let gst::EventView::Caps(event) = event.view()
            && is_in_order(event.caps())
        {
            // Pictures that are reordered would come out in the wrong order.
            switch_on(&decoder, "disable-dpb");
            switch_on(&decoder, "low-latency-mode");
        }
        gst::PadProbeReturn::Ok
    });
}

fn is_in_order(caps: &gst::CapsRef) -> bool {
    let profile = caps.structure(0).and_then(|stream| stream.get::<String>("profile").ok());
    profile.is_some_and(|profile| IN_ORDER.contains(&profile.as_str()))
}

fn is_switch(element: &gst::Element, name: &str) -> bool {
    element.find_property(name).is_some_and(|spec| spec.value_type() == bool::static_type())
}

fn switch_on(element: &gst::Element, name: &str) {
    if is_switch(element, name) {
        element.set_property(name, true);
    }
}

/// Puts NVIDIA's converter before `entry`, and gives the pad that takes pictures in NVMM memory. It is told the format:
/// left the choice, it hands on NV12, which the processor would have to turn into what is read.
///
/// # Errors
/// If there is none, or it cannot be linked.
pub(super) fn out_of_nvmm(pipeline: &gst::Pipeline, entry: &gst::Element) -> Result<gst::Pad, String> {
    let converter = ["nvvidconv", "nvvideoconvert"]
        .iter()
        .find_map(|name| gst::ElementFactory::make(name).build().ok())
        .ok_or("frames lie in NVMM memory and neither nvvidconv nor nvvideoconvert is installed")?;
    let format = gst::ElementFactory::make("capsfilter").build().map_err(|e| e.to_string())?;
    format.set_property("caps", gst::Caps::builder("video/x-raw").field("format", "I420").build());
    pipeline.add_many([&converter, &format]).map_err(|e| e.to_string())?;
    gst::Element::link_many([&converter, &format, entry]).map_err(|e| e.to_string())?;
    for element in [&format, &converter] {
        element.sync_state_with_parent().map_err(|e| e.to_string())?;
    }
    converter.static_pad("sink").ok_or_else(|| "the converter has no sink".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gstreamer::glib;
    use gstreamer::subclass::prelude::*;

    mod imp {
        use super::*;
        use std::collections::BTreeMap;
        use std::sync::{LazyLock, Mutex};

        /// An element with NVIDIA's switches, and one of the same name as a switch that is none.
        #[derive(Default)]
        pub struct StandIn(pub Mutex<BTreeMap<String, bool>>);

        #[glib::object_subclass]
        impl ObjectSubclass for StandIn {
            const NAME: &'static str = "FaroutJetsonDecoderStandIn";
            type Type = super::StandIn;
            type ParentType = gst::Element;
        }

        impl ObjectImpl for StandIn {
            fn properties() -> &'static [glib::ParamSpec] {
                static SWITCHES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
                    vec![
                        glib::ParamSpecBoolean::builder("enable-max-performance").build(),
                        glib::ParamSpecBoolean::builder("disable-dpb").build(),
                        glib::ParamSpecUInt::builder("low-latency-mode").build(),
                    ]
                });
                &SWITCHES
            }

            fn set_property(&self, _: usize, value: &glib::Value, spec: &glib::ParamSpec) {
                self.0.lock().unwrap().insert(spec.name().to_owned(), value.get().unwrap());
            }

            fn property(&self, _: usize, spec: &glib::ParamSpec) -> glib::Value {
                self.0.lock().unwrap().get(spec.name()).copied().unwrap_or_default().to_value()
            }
        }

        impl GstObjectImpl for StandIn {}
        impl ElementImpl for StandIn {}
    }

    glib::wrapper! {
        pub struct StandIn(ObjectSubclass<imp::StandIn>) @extends gst::Element, gst::Object;
    }

    /// What is switched on after a stream with these caps.
    fn switched_on(live: bool, caps: &str) -> String {
        let decoder: StandIn = glib::Object::new();
        let pad =
            gst::Pad::builder(gst::PadDirection::Sink).name("sink").event_function(|_, _, _| true).build();
        decoder.add_pad(&pad).unwrap();
        pad.set_active(true).unwrap();
        settle_decoder(decoder.upcast_ref(), live);
        pad.send_event(gst::event::StreamStart::new("camera"));
        pad.send_event(gst::event::Caps::new(&caps.parse::<gst::Caps>().unwrap()));
        let switches = decoder.imp().0.lock().unwrap();
        switches.keys().cloned().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn pictures_wait_only_where_they_may_have_to() {
        gst::init().unwrap();
        for profile in IN_ORDER {
            let caps = format!("video/x-h264,profile={profile}");
            assert_eq!(switched_on(true, &caps), "disable-dpb enable-max-performance");
            assert_eq!(switched_on(false, &caps), "enable-max-performance");
        }
        for caps in ["video/x-h264,profile=main", "video/x-h264", "video/x-h265,profile=main"] {
            assert_eq!(switched_on(true, caps), "enable-max-performance", "{caps}");
        }
        // An element without switches is left alone.
        let plain = gst::ElementFactory::make("identity").build().unwrap();
        settle_decoder(&plain, true);
    }

    #[test]
    fn nvidias_converter_is_told_the_format() {
        gst::init().unwrap();
        // A converter under NVIDIA's name, where that is not installed.
        if gst::ElementFactory::find("nvvidconv").is_none() {
            let there = gst::ElementFactory::find("videoconvert").unwrap().load().unwrap();
            gst::Element::register(None, "nvvidconv", gst::Rank::NONE, there.element_type()).unwrap();
        }
        let pipeline = gst::Pipeline::new();
        let entry = gst::ElementFactory::make("videoconvert").build().unwrap();
        pipeline.add(&entry).unwrap();
        let pad = out_of_nvmm(&pipeline, &entry).unwrap();
        assert_eq!(pad.parent_element().unwrap().factory().unwrap().name(), "nvvidconv");
        let before = entry.static_pad("sink").unwrap().peer().unwrap().parent_element().unwrap();
        assert_eq!(before.property::<gst::Caps>("caps").to_string(), "video/x-raw, format=(string)I420");
        let first = before.static_pad("sink").unwrap().peer().unwrap().parent_element();
        assert_eq!(first, pad.parent_element());
    }
}
