"""The HTML of the page that `evaluate.honesty` fills in: no script, style or picture from anywhere else."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>What the restoration did</title>
<style>
:root{{color-scheme:light dark;--line:color-mix(in srgb,currentColor 20%,transparent)}}
body{{font:16px/1.45 system-ui,sans-serif;max-width:1240px;margin:0 auto;padding:1.2rem}}
h1{{font-size:1.5rem;margin:.2rem 0}} h2{{font-size:1.15rem;margin:2rem 0 .5rem;overflow-wrap:anywhere}}
table{{border-collapse:collapse;font-size:.85rem}} th,td{{text-align:left;padding:.15rem .9rem .15rem 0;
vertical-align:top;overflow-wrap:anywhere}} th{{font-weight:600;white-space:nowrap}}
.slider{{position:relative;line-height:0;--at:50%}} .slider img{{width:100%;height:auto}}
.slider .after{{position:absolute;inset:0;clip-path:inset(0 0 0 var(--at))}}
.slider .bar{{position:absolute;top:0;bottom:0;left:var(--at);width:2px;background:#fff;box-shadow:0 0 3px #000;
pointer-events:none}}
.slider input{{position:absolute;inset:0;width:100%;height:100%;margin:0;opacity:0;cursor:ew-resize}}
.slider span{{position:absolute;top:.5rem;line-height:1.4;padding:0 .5rem;background:#000a;color:#fff;font-size:.8rem;
border-radius:.3rem;pointer-events:none}} .slider .l{{left:.5rem}} .slider .r{{right:.5rem}}
.slider:focus-within{{outline:2px solid Highlight}}
.maps{{display:grid;grid-template-columns:repeat(auto-fit,minmax(260px,1fr));gap:1rem;margin:1rem 0}}
figure{{margin:0}} figure img{{width:100%;height:auto;display:block}} figcaption{{font-size:.8rem;margin-top:.3rem}}
footer{{margin-top:2rem;border-top:1px solid var(--line);padding-top:.7rem;font-size:.85rem}}
</style></head><body>
<h1>What the restoration did</h1>
<table>{rows}</table>
{sections}
{more}
<footer>No reference photograph was known: the figures say what changed, where the model disagrees with itself, and
whether the result still explains the input. They do not say that the result is true. A place without a mark may be
wrong; fine texture, letters and faces deserve a look at the original. Maps are means over blocks where the picture is
larger than 1600 pixels.</footer>
<script>
document.querySelectorAll(".slider input").forEach(function (range) {{
  range.addEventListener("input", function () {{ range.parentNode.style.setProperty("--at", range.value + "%"); }});
}});
</script></body></html>
"""

SECTION = """<section><h2>{name}</h2>
<div class="slider"><img src="{before}" alt="before"><img class="after" src="{after}" alt="after">
<div class="bar"></div><input type="range" min="0" max="100" value="50" step="0.1" aria-label="before and after">
<span class="l">before</span><span class="r">after</span></div>
<div class="maps">{maps}</div>
<table>{rows}</table></section>
"""
