//! The kinds of markers, each with its fields.

use fxprof_processed_profile::{
    CategoryHandle, MarkerFieldFlags, MarkerFieldFormat, MarkerGraphType, MarkerLocations, Profile, StaticSchemaMarker,
    StaticSchemaMarkerField, StaticSchemaMarkerGraph, StringHandle,
};

/// Shown in the marker chart, in the marker table and below the thread's name.
const EVERYWHERE: MarkerLocations =
    MarkerLocations::MARKER_CHART.union(MarkerLocations::MARKER_TABLE).union(MarkerLocations::TIMELINE_OVERVIEW);

const fn field(key: &'static str, label: &'static str, format: MarkerFieldFormat) -> StaticSchemaMarkerField {
    StaticSchemaMarkerField { key, label, format, flags: MarkerFieldFlags::SEARCHABLE }
}

/// A state of a thread.
pub(super) struct GilState {
    pub(super) name: StringHandle,
    pub(super) category: CategoryHandle,
}

impl StaticSchemaMarker for GilState {
    const UNIQUE_MARKER_TYPE_NAME: &'static str = "GIL state";
    const LOCATIONS: MarkerLocations = EVERYWHERE;
    const FIELDS: &'static [StaticSchemaMarkerField] = &[];

    fn name(&self, _: &mut Profile) -> StringHandle {
        self.name
    }

    fn category(&self, _: &mut Profile) -> CategoryHandle {
        self.category
    }

    fn string_field_value(&self, _: u32) -> StringHandle {
        unreachable!("there are no fields")
    }

    fn number_field_value(&self, _: u32) -> f64 {
        unreachable!("there are no fields")
    }
}

/// A stall, on the thread that held the GIL.
pub(super) struct Stalled {
    pub(super) name: StringHandle,
    pub(super) category: CategoryHandle,
    pub(super) call: StringHandle,
    pub(super) cause: StringHandle,
    pub(super) waiters: StringHandle,
    pub(super) held_ns: u64,
    pub(super) lost_ns: u64,
}

impl StaticSchemaMarker for Stalled {
    const UNIQUE_MARKER_TYPE_NAME: &'static str = "Stall";
    const DESCRIPTION: Option<&'static str> =
        Some("Other threads waited for the GIL meanwhile. The stack is that of the thread that held it.");
    const LOCATIONS: MarkerLocations = EVERYWHERE;
    const CHART_LABEL: Option<&'static str> = Some("{marker.data.call}");
    const TABLE_LABEL: Option<&'static str> = Some("{marker.data.call}: {marker.data.reason}");
    const FIELDS: &'static [StaticSchemaMarkerField] = &[
        field("call", "Call", MarkerFieldFormat::String),
        // The profiler has another use for the key "cause": it holds the marker's stack.
        field("reason", "Cause", MarkerFieldFormat::String),
        field("waiters", "Threads that waited", MarkerFieldFormat::String),
        field("held", "Time held", MarkerFieldFormat::Duration),
        field("lost", "Time lost by other threads", MarkerFieldFormat::Duration),
    ];

    fn name(&self, _: &mut Profile) -> StringHandle {
        self.name
    }

    fn category(&self, _: &mut Profile) -> CategoryHandle {
        self.category
    }

    fn string_field_value(&self, field: u32) -> StringHandle {
        [self.call, self.cause, self.waiters][field as usize]
    }

    /// Durations are in milliseconds.
    fn number_field_value(&self, field: u32) -> f64 {
        (if field == 3 { self.held_ns } else { self.lost_ns }) as f64 / 1e6
    }
}

/// How many threads wait for a GIL, as a graph.
pub(super) struct Waiting {
    pub(super) name: StringHandle,
    pub(super) count: u32,
}

impl StaticSchemaMarker for Waiting {
    const UNIQUE_MARKER_TYPE_NAME: &'static str = "Threads that wait";
    const LOCATIONS: MarkerLocations = MarkerLocations::MARKER_TABLE;
    const TABLE_LABEL: Option<&'static str> = Some("{marker.data.threads}");
    const FIELDS: &'static [StaticSchemaMarkerField] = &[field("threads", "Threads", MarkerFieldFormat::Integer)];
    const GRAPHS: &'static [StaticSchemaMarkerGraph] =
        &[StaticSchemaMarkerGraph { key: "threads", graph_type: MarkerGraphType::Bar, color: None }];

    fn name(&self, _: &mut Profile) -> StringHandle {
        self.name
    }

    fn category(&self, _: &mut Profile) -> CategoryHandle {
        CategoryHandle::OTHER
    }

    fn string_field_value(&self, _: u32) -> StringHandle {
        unreachable!("the only field is a number")
    }

    fn number_field_value(&self, _: u32) -> f64 {
        self.count.into()
    }
}
