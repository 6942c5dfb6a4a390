//! Writes the packets of a Perfetto trace one after the other.

use super::message::{
    BuiltinClock, Clock, ClockSnapshot, EventType, InternedData, InternedName, InternedText, TracePacket,
    TracePacketDefaults, TrackDescriptor, TrackEvent,
};
use prost::Message;
use std::collections::HashMap;
use std::io::{self, Write};

/// The tag of a packet: field 1 of a trace, with a length before its content.
const PACKET: u8 = 1 << 3 | 2;
/// The number of the only sequence of packets. Interned texts belong to a sequence.
const SEQUENCE: u32 = 1;
/// SEQ_INCREMENTAL_STATE_CLEARED and SEQ_NEEDS_INCREMENTAL_STATE: the interned texts begin here, or are needed.
const BEGINS: u32 = 1;
const NEEDS: u32 = 2;

/// The packets, on their way to a writer.
pub(super) struct Packets<'a, W: ?Sized> {
    to: &'a mut W,
    /// The start of the recording on CLOCK_MONOTONIC, which is the clock of the trace.
    start_ns: u64,
    texts: HashMap<String, u64>,
    buffer: Vec<u8>,
}

impl<'a, W: Write + ?Sized> Packets<'a, W> {
    pub(super) fn new(to: &'a mut W, start_ns: u64) -> Self {
        Self { to, start_ns, texts: HashMap::new(), buffer: Vec::new() }
    }

    /// Writes what has to come first: the clocks, and the interned names. Events on CLOCK_MONOTONIC are dropped by the viewer
    /// unless a snapshot has that clock.
    pub(super) fn head(
        &mut self,
        realtime_ns: Option<u64>,
        categories: &[(u64, &str)],
        names: &[(u64, &str)],
    ) -> io::Result<()> {
        let clock = |clock: BuiltinClock, at: u64| Clock { clock_id: Some(clock as u32), timestamp: Some(at) };
        let monotonic = clock(BuiltinClock::Monotonic, self.start_ns);
        let realtime = realtime_ns.map(|at| clock(BuiltinClock::Realtime, at));
        let clock_snapshot = Some(ClockSnapshot {
            clocks: [monotonic].into_iter().chain(realtime).collect(),
            primary_trace_clock: Some(BuiltinClock::Monotonic.into()),
        });
        self.packet(TracePacket { clock_snapshot, ..TracePacket::default() })?;
        let all = |named: &[(u64, &str)]| {
            let one = |(iid, name): &(u64, &str)| InternedName { iid: Some(*iid), name: Some((*name).into()) };
            named.iter().map(one).collect()
        };
        let interned_data = Some(InternedData {
            event_categories: all(categories),
            event_names: all(names),
            debug_annotation_string_values: Vec::new(),
        });
        let defaults = TracePacketDefaults { timestamp_clock_id: Some(BuiltinClock::Monotonic as u32) };
        self.packet(TracePacket {
            sequence_flags: Some(BEGINS | NEEDS),
            interned_data,
            trace_packet_defaults: Some(defaults),
            ..TracePacket::default()
        })
    }

    pub(super) fn track(&mut self, descriptor: TrackDescriptor) -> io::Result<()> {
        self.packet(TracePacket { track_descriptor: Some(descriptor), ..TracePacket::default() })
    }

    /// Writes an event, at a time since the start of the recording.
    pub(super) fn event(&mut self, event: TrackEvent, at_ns: u64) -> io::Result<()> {
        self.packet(TracePacket {
            timestamp: Some(self.start_ns.saturating_add(at_ns)),
            sequence_flags: Some(NEEDS),
            track_event: Some(event),
            ..TracePacket::default()
        })
    }

    /// Writes a slice, which begins with that event.
    pub(super) fn slice(&mut self, begin: TrackEvent, from_ns: u64, to_ns: u64) -> io::Result<()> {
        let (r#type, track_uuid) = (Some(EventType::SliceEnd.into()), begin.track_uuid);
        self.event(begin, from_ns)?;
        self.event(TrackEvent { r#type, track_uuid, ..TrackEvent::default() }, to_ns)
    }

    /// Writes the value of a counter, from that time on.
    pub(super) fn value(&mut self, track: u64, value: TrackEvent, at_ns: u64) -> io::Result<()> {
        let (r#type, track_uuid) = (Some(EventType::Counter.into()), Some(track));
        self.event(TrackEvent { r#type, track_uuid, ..value }, at_ns)
    }

    /// Returns the numbers of the texts, and writes those that are new.
    pub(super) fn interned(&mut self, texts: &[&str]) -> io::Result<Vec<u64>> {
        let mut new = Vec::new();
        let mut numbers = Vec::with_capacity(texts.len());
        for text in texts {
            let next = self.texts.len() as u64 + 1;
            let number = *self.texts.entry((*text).to_owned()).or_insert(next);
            if number == next {
                new.push(InternedText { iid: Some(number), str: Some(text.as_bytes().to_vec()) });
            }
            numbers.push(number);
        }
        if !new.is_empty() {
            let interned_data = InternedData { debug_annotation_string_values: new, ..InternedData::default() };
            let (sequence_flags, interned_data) = (Some(NEEDS), Some(interned_data));
            self.packet(TracePacket { sequence_flags, interned_data, ..TracePacket::default() })?;
        }
        Ok(numbers)
    }

    fn packet(&mut self, packet: TracePacket) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.push(PACKET);
        let packet = TracePacket { trusted_packet_sequence_id: Some(SEQUENCE), ..packet };
        packet.encode_length_delimited(&mut self.buffer).expect("a vector grows");
        self.to.write_all(&self.buffer)
    }
}
