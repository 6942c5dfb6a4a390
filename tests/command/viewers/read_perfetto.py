"""Prints what a Perfetto trace contains, as the format's own bindings read it: python read_perfetto.py TRACE"""

import json
import sys

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as protos

with open(sys.argv[1], "rb") as file:
    trace = protos.Trace.FromString(file.read())

event = protos.TrackEvent
names, texts, tracks, slices, counters = {}, {}, {}, [], []
for packet in trace.packet:
    names.update((one.iid, one.name) for one in packet.interned_data.event_names)
    texts.update((one.iid, one.str.decode()) for one in packet.interned_data.debug_annotation_string_values)
    if packet.HasField("track_descriptor"):
        track = packet.track_descriptor
        tracks[track.uuid] = track
    if not packet.HasField("track_event"):
        continue
    found, at = packet.track_event, packet.timestamp
    if found.type == event.TYPE_SLICE_BEGIN:
        details = {detail.name: detail for detail in found.debug_annotations}
        slices.append(
            {
                "track": found.track_uuid,
                "tid": tracks[found.track_uuid].thread.tid,
                "name": found.name or names[found.name_iid],
                "from": at,
                "out": list(found.flow_ids),
                "into": list(found.terminating_flow_ids),
                "cause": details["cause"].string_value if details else None,
                "lost_s": details["lost_s"].double_value if details else None,
                "stack": [texts[frame.string_value_iid] for frame in details["stack"].array_values]
                if "stack" in details
                else [],
            }
        )
    elif found.type == event.TYPE_SLICE_END:
        assert slices[-1]["track"] == found.track_uuid
        slices[-1]["to"] = at
    else:
        counters.append(
            [tracks[found.track_uuid].name, at, found.counter_value or found.double_counter_value]
        )
json.dump({"slices": slices, "counters": counters}, sys.stdout)
