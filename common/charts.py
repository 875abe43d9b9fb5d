"""The pictures of a report, as Vega-Lite specifications: JSON that its library draws in a page.

Data stand beside the specifications, under a name.  Of what files say, a specification holds
numbers, titles and the names of a scale's domain: Vega shows them, and evaluates none.
Colours are the page's own, so that they follow the reader's: see page.py.
"""

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name; nothing is fetched
COLOURS = 8       # of the page: --series-1 and so on
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
HEIGHT = 260      # pixels
INK, QUIET, GRID = "var(--ink)", "var(--quiet)", "var(--grid)"

CONFIG = {
    "font": "system-ui, sans-serif",
    "background": None,
    "view": {"stroke": None},
    "axis": {"labelColor": QUIET, "titleColor": INK, "gridColor": GRID, "domainColor": GRID,
             "tickColor": GRID, "labelFontSize": 12, "titleFontSize": 12,
             "titleFontWeight": "normal", "titlePadding": 8, "labelLimit": 140,
             "labelOverlap": "greedy", "labelSeparation": 8},
    "legend": {"labelColor": INK, "titleColor": INK, "labelFontSize": 11, "orient": "top",
               "columnPadding": 6, "symbolSize": 70,
               "title": None, "symbolStrokeWidth": 2, "labelLimit": 130, "columns": 3},
    "text": {"color": INK},
    "aria": False,  # a picture has one description, and its numbers a table
}  # fmt: skip


def picture(data, layers, height=HEIGHT):
    """A specification of layers over the data of that name."""
    return {"$schema": SCHEMA, "data": {"name": data}, "width": "container", "height": height,
            "autosize": {"type": "fit-x", "contains": "padding"}, "config": CONFIG,
            "layer": layers}  # fmt: skip


def of_frameworks(data, frameworks, layers, height=HEIGHT):
    """The same, of runs: `shown` is the list of the frameworks that the reader has chosen."""
    return picture(data, layers, height) | {
        "params": [{"name": "shown", "value": frameworks}],
        "transform": [{"filter": "indexof(shown, datum.framework) >= 0"}],
    }


def series(domain, values):
    """A scale that gives each name of the domain one of the values, in turn."""
    return {"domain": domain, "range": [values[i % len(values)] for i in range(len(domain))]}


def colour(field, domain, **more):
    """Colour by a field, in the page's colours."""
    names = [f"var(--series-{1 + i})" for i in range(COLOURS)]
    return {"field": field, "type": "nominal", "scale": series(domain, names), **more}


def axis(field, title, **more):
    """A number along an axis."""
    return {"field": field, "type": "quantitative", "title": title, **more}


def tips(**fields):
    """What a point says under the pointer: {title: field}."""
    return [{"field": field, "title": title, "type": "nominal"} for title, field in fields.items()]


def row(field, domain):
    """A row for each name of the domain, in its order."""
    return {"field": field, "type": "nominal", "title": None, "scale": {"domain": domain},
            "axis": {"grid": True}}  # fmt: skip


def curves(data, frameworks, x, x_title, metric, targets):
    """Quality against x, a line for each run.  Data: run, framework, seed, epoch, seconds,
    examples, value.  targets: dashed lines.
    """
    y = axis("value", metric, scale={"zero": False})
    across = axis(x, x_title, scale={"zero": True},
                  axis={"tickCount": 6} | ({"format": "~s"} if x == "examples" else {}))
    dash = {"field": "framework", "type": "nominal", "scale": series(frameworks, DASHES)}
    shape = {"field": "framework", "type": "nominal", "scale": series(frameworks, SHAPES)}
    near = {"name": "near", "select": {"type": "point", "fields": ["run"], "on": "pointerover",
                                       "clear": "pointerout"}}  # fmt: skip
    lines = {
        "mark": {"type": "line", "strokeJoin": "round"},
        "encoding": {
            "x": across, "y": y, "color": colour("framework", frameworks), "strokeDash": dash,
            "detail": {"field": "run"},
            "strokeWidth": {"condition": {"param": "near", "empty": False, "value": 4},
                            "value": 1.6},
        },
    }  # fmt: skip
    points = {
        "params": [near],
        "mark": {"type": "point", "filled": True, "size": 36, "opacity": 1},
        "encoding": {
            "x": across, "y": y, "color": colour("framework", frameworks), "shape": shape,
            "tooltip": tips(framework="framework", seed="seed", epoch="epoch", seconds="seconds",
                            examples="examples", quality="value"),
        },
    }  # fmt: skip
    goal = {
        "data": {"values": [{"target": target} for target in targets]},
        "layer": [
            {"mark": {"type": "rule", "strokeDash": [4, 4], "color": INK}, "encoding": {
                "y": axis("target", metric)}},
            {"mark": {"type": "text", "align": "left", "dx": 4, "dy": -6, "x": 0}, "encoding": {
                "y": axis("target", metric), "text": {"value": "target"}}},
        ],
    }  # fmt: skip
    return of_frameworks(data, frameworks, [lines, points, goal])


def spread(data, frameworks, kinds, field, title, form, chosen):
    """A number of each run, a row for each kind of runs; the mean is a bar with its value.

    form: of that value.  chosen: which runs it is the mean of: all, met (the target) or none.

    Data: kind, framework, seed, status (met or missed: the target), and the field.
    """
    y = row("kind", kinds)
    x = axis(field, title, scale={"zero": False, "padding": 24}, axis={"tickCount": 6})
    mean = axis(field, title, aggregate="mean")
    shape = {"field": "status", "type": "nominal",
             "scale": {"domain": ["met", "missed"], "range": ["circle", "triangle-right"]},
             "legend": None}  # fmt: skip
    range_ = {"mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.6}, "encoding": {
        "y": y, "x": axis(field, title, aggregate="min"),
        "x2": {"field": field, "aggregate": "max"},
        "color": colour("framework", frameworks, legend=None)}}  # fmt: skip
    points = {"mark": {"type": "point", "size": 70, "strokeWidth": 2, "opacity": 0.8}, "encoding": {
        "y": y, "x": x, "shape": shape, "color": colour("framework", frameworks, legend=None),
        "tooltip": tips(framework="framework", seed="seed", target="status", value=field)}}
    of = [{"filter": "datum.status === 'met'"}] if chosen == "met" else []
    middle = {"mark": {"type": "tick", "thickness": 3, "size": 26, "color": INK},
              "transform": of, "encoding": {"y": y, "x": mean}}
    number = {"mark": {"type": "text", "dy": -19, "fontSize": 12}, "transform": of,
              "encoding": {"y": y, "x": mean,
                           "text": {"field": field, "aggregate": "mean", "format": form}}}
    layers = [range_, points] if chosen == "none" else [range_, points, middle, number]
    return of_frameworks(data, frameworks, layers, height=62 * len(kinds))


def roofline(data, kinds, roof):
    """Kernels' FLOP per second against FLOP per byte, under the machine's roof.

    Data: kind, problem, direction, intensity, speed, share.  roof: [{intensity, speed}].
    """
    x = axis("intensity", "FLOP per byte", scale={"type": "log", "nice": False},
             axis={"format": "~g", "tickCount": 5, "grid": False})
    y = axis("speed", "FLOP per second", scale={"type": "log", "nice": False},
             axis={"format": "~s", "tickCount": 5, "grid": False})
    shape = {"field": "kind", "type": "nominal", "scale": series(kinds, SHAPES)}
    points = {"mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.9}, "encoding": {
        "x": x, "y": y, "color": colour("kind", kinds, legend={"columns": 2}), "shape": shape,
        "tooltip": tips(kind="kind", problem="problem", direction="direction")
        + tips(**{"share of its roof": "share"})}}  # fmt: skip
    line = {"data": {"values": roof}, "mark": {"type": "line", "color": INK, "strokeWidth": 2},
            "encoding": {"x": x, "y": y}}
    return picture(data, [line, points], height=320)


def bridge(data, rows, parts):
    """A step's parts as shares of its measured time, a bar for each step; a line at the whole.

    Data: row, part, order, share, seconds.
    """
    y = row("row", rows)
    x = axis("share", "share of the measured step", axis={"format": ".0%", "tickCount": 6})
    bars = {"mark": {"type": "bar", "stroke": "var(--paper)"}, "encoding": {
        "y": y, "x": x | {"stack": "zero"}, "color": colour("part", parts, legend={"columns": 2}),
        "order": {"field": "order"}, "tooltip": tips(part="part", share="share",
                                                     seconds="seconds")}}  # fmt: skip
    whole = {"data": {"values": [{"share": 1}]},
             "mark": {"type": "rule", "color": INK, "strokeWidth": 2, "strokeDash": [4, 4]},
             "encoding": {"x": x}}  # fmt: skip
    return picture(data, [bars, whole], height=44 * len(rows))
