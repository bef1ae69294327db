"""Checks the page of examples/dashboard in headless Chromium: usage: check.py CHROMIUM PROFILE URL LIMIT PICTURE"""

import sys

from page import Page

KIB, MIB = 1 << 10, 1 << 20
# The read buffer and the message that is handled: 128 KiB and a tick, by the defaults of the client.
STREAM_BOUND = 256 * KIB
WIDTH, HEIGHT = 1120, 900

# What the page shows now: of each side the three numbers, and how many points each curve has.
SHOWN = """(() => {
    const of = (side) => Object.fromEntries(["waiting", "rate", "peak_memory"].map((key) => {
        const figure = document.querySelector(`#${side} .${key}`);
        const value = Number(figure.querySelector("output").dataset.value);
        return [key, { value, points: figure.querySelector("polyline").points.numberOfItems }];
    }));
    return { callback: of("callback"), stream: of("stream") };
})()"""
CURVES = f"Object.values({SHOWN}).flatMap((side) => Object.values(side))"


# Texts whose contrast to what is behind them is less than WCAG 2.2 asks for (1.4.3: 4.5, the same for large ones here).
FAINT = """(() => {
    const rgb = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = (color) => rgb(color).slice(0, 3).map((part) => part / 255)
        .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (node) => {
        const color = getComputedStyle(node).backgroundColor;
        return rgb(color)[3] === 0 && node.parentElement ? behind(node.parentElement) : color;
    };
    return [...document.body.querySelectorAll("*")]
        .filter((node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
        .filter((node) => node.checkVisibility())
        .filter((node) => {
            const [a, b] = [getComputedStyle(node).color, behind(node)].map(light).sort((a, b) => b - a);
            return (a + 0.05) / (b + 0.05) < 4.5;
        })
        .map((node) => node.textContent);
})()"""


def restarts(side, compared):
    return f"document.querySelector('#{side} .restarts b').textContent {compared} 'never'"


def move_slider(page, value):
    page.evaluate(f"""(() => {{
        const slider = document.querySelector("#speed");
        slider.value = {value};
        slider.dispatchEvent(new Event("input", {{ bubbles: true }}));
    }})()""")


def check(page, url, limit, picture):
    page.order("Page.navigate", url=url)
    page.wait("the page loads", "document.readyState === 'complete' && document.querySelector('#speed')", 10)
    # Both bounds are watched at each change from here on, not only where they are asked for.
    page.evaluate(f"""(() => {{
        window.highest = {{ callback: 0, stream: 0 }};
        new MutationObserver(() => {{
            const now = {SHOWN};
            for (const side in highest) highest[side] = Math.max(highest[side], now[side].waiting.value);
        }}).observe(document.querySelector("main"), {{ childList: true, subtree: true }});
    }})()""")

    page.wait("the curves have points", f"{CURVES}.every(({{ points }}) => points >= 10)", 10, SHOWN)
    before = page.evaluate(SHOWN)["stream"]["rate"]["points"]
    page.wait("the curves move", f"{CURVES}.every(({{ points }}) => points >= {before + 10})", 5, SHOWN)
    print(f"dashboard: six curves move, {before + 10} points and more")

    for exponent in (18, 22, 23, 20):
        move_slider(page, exponent)
        low, high = 0.6 * 2**exponent, 1.4 * 2**exponent
        follows = f"[{SHOWN}.callback, {SHOWN}.stream].every(({{ rate }}) => rate.value > {low} && rate.value < {high})"
        page.wait(f"both rates follow the slider to {2**exponent >> 10} KiB/s", follows, 8, SHOWN)
        last = page.evaluate("snapshots.at(-1).time")
        page.wait("the curves go on", f"snapshots.at(-1).time >= {last + 3}", 8, "snapshots.length")
    print("dashboard: both rates follow the slider: 256 KiB/s, 4, 8 and 1 MiB/s")

    page.wait("the event API comes to the limit and is started again", restarts("callback", "!=="), 20, f"[highest, {SHOWN}]")
    assert page.evaluate(restarts("stream", "===")), "the stream was started again"
    most = page.evaluate("highest")
    assert most["callback"] > limit / 4, f"the queue behind the event API grew to {most['callback']} bytes only"
    assert most["callback"] < 1.5 * limit, f"the queue behind the event API grew to {most['callback']} bytes"
    assert 0 < most["stream"] <= STREAM_BOUND, f"{most['stream']} bytes waited behind the stream"
    print(f"dashboard: at most {most['callback'] // MIB} MiB waited behind the event API, "
          f"{most['stream'] // KIB} KiB behind the stream")

    page.wait("the curves are full", "snapshots.at(-1).time - snapshots[0].time > SPAN - 1", 30, SHOWN)
    page.wait("half of the limit waits", f"{SHOWN}.callback.waiting.value > {limit / 2}", 20, SHOWN)
    page.screenshot(picture)

    says_so = "document.querySelector('#seen').textContent.includes('Now both keep up')"
    assert not page.evaluate(says_so), "slow clients are said to keep up"
    move_slider(page, 30)
    page.wait("clients that are as fast as the server are said to be", says_so, 20, SHOWN)
    move_slider(page, 20)
    page.wait("clients that are slow again are not", f"!{says_so}", 10, SHOWN)
    print("dashboard: the page says whether the clients keep up")

    for scheme in ("dark", "light"):
        page.order("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        faint = page.evaluate(FAINT)
        assert not faint, f"{scheme}: these texts stand out too little: {faint}"
    page.resize(360, 800)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360, f"a page of 360 pixels is {wide} wide"
    page.resize(WIDTH, HEIGHT)
    print("dashboard: every text can be read, dark and light, and the page fits a telephone")

    assert not page.errors, f"the page has errors: {page.errors}"
    print(f"dashboard: no error in the page; a picture of it is in {picture}")


def main():
    chromium, profile, url, limit, picture = sys.argv[1:]
    page = Page(chromium, profile, WIDTH, HEIGHT)
    try:
        check(page, url, int(limit), picture)
    finally:
        page.close()


main()
