//! The look of the report. Series colours are those of Okabe and Ito, which people with any of the common colour
//! blindnesses can tell apart, lightened for the dark.

/// What stands in the `style` element of a page.
pub const CSS: &str = r#"
:root{color-scheme:light dark;--bg:#f6f6f4;--card:#fff;--ink:#1b1f24;--soft:#5c636b;--rule:#e1e2e0;--grid:#e9eae8;
--heat:#0072b2;--accent:#0067a3;--warn-bg:#fff5dc;--warn:#7a4b00;--good:#00734f;--bad:#b03a00;
--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#b8578f;--c4:#8a6d00;--c5:#4f5b66}
@media(prefers-color-scheme:dark){:root{--bg:#121416;--card:#1b1e21;--ink:#e8eaec;--soft:#9ba3ab;--rule:#31363b;
--grid:#2a2f33;--heat:#3f9bdc;--accent:#6cb8ee;--warn-bg:#33290f;--warn:#f0c977;--good:#4ccfa2;--bad:#ff9a66;
--c0:#56b4e9;--c1:#f58a3c;--c2:#2fc99b;--c3:#e39ac4;--c4:#e5c94b;--c5:#aab4bd}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
main{max-width:1080px;margin:0 auto;padding:40px 24px 64px}
header{margin:0 0 28px}
h1{font-size:2rem;line-height:1.2;margin:0 0 6px;letter-spacing:-.015em;overflow-wrap:anywhere}
header p{margin:0;color:var(--soft);max-width:72ch}
h2{font-size:1.12rem;margin:0 0 6px;letter-spacing:-.005em}
section{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:22px 24px 24px;margin:0 0 18px}
section>p{margin:0 0 14px;color:var(--soft);max-width:76ch}
section>p.verdict{color:var(--ink)}
.numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:14px;margin:0 0 18px}
.numbers div{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:16px 18px}
.numbers b{display:block;font-size:1.9rem;line-height:1.2;font-weight:650;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
.numbers span{display:block;font-size:.86rem;color:var(--soft)}
.numbers span:first-child{color:var(--ink);font-weight:550}
.notes{background:var(--warn-bg);color:var(--warn);border-radius:12px;padding:14px 20px;margin:0 0 18px}
.notes ul{margin:0;padding-left:1.1em}
.scroll{overflow-x:auto;-webkit-overflow-scrolling:touch}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.94rem}
th{font-weight:550;text-align:left;color:var(--soft);font-size:.84rem;padding:6px 14px 6px 0;border-bottom:1px solid var(--rule);vertical-align:bottom}
td{padding:9px 14px 9px 0;border-bottom:1px solid var(--rule);vertical-align:top}
tr:last-child td{border-bottom:0}
th:last-child,td:last-child{padding-right:0}
.n{text-align:right;white-space:nowrap}
td .unit{display:none}
td small{display:block;color:var(--soft);font-size:.84rem}
td span small,td.n small{white-space:nowrap}
tr.main td{font-weight:600}
tr.main td small{font-weight:400}
.tag{display:inline-block;white-space:nowrap;font-size:.72rem;font-weight:550;color:var(--soft);border:1px solid var(--rule);border-radius:99px;padding:0 8px;margin-left:6px;vertical-align:1px}
tr.main .tag{color:var(--accent);border-color:var(--accent)}
.dot{display:block;width:190px;height:22px}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr));gap:26px 32px;margin-top:14px}
figure{margin:0;max-width:560px;min-width:0}
figcaption{font-weight:550;font-size:.94rem;margin:0 0 4px}
figure svg{display:block;width:100%;height:auto}
.legend{display:flex;flex-wrap:wrap;gap:2px 16px;font-size:.84rem;margin:0 0 6px}
.legend span{display:inline-flex;align-items:center;gap:6px}
.legend svg{display:inline-block;width:28px;height:14px;flex:none}
.note{font-size:.84rem;color:var(--soft);margin:4px 0 0}
svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif;font-variant-numeric:tabular-nums;fill:var(--soft)}
svg text.name{fill:var(--ink)}
.grid{stroke:var(--grid);stroke-width:1}.axis{stroke:var(--soft);stroke-width:1}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.band{stroke:none;opacity:.16}.whisker{fill:none;stroke-width:1.5;opacity:.75}
.mark{stroke:var(--card);stroke-width:1.2}
.s0{--s:var(--c0)}.s1{--s:var(--c1);stroke-dasharray:7 4}.s2{--s:var(--c2)}
.s3{--s:var(--c3);stroke-dasharray:9 3 2 3}.s4{--s:var(--c4)}.s5{--s:var(--c5);stroke-dasharray:4 3}
.line.s0,.line.s1,.line.s2,.line.s3,.line.s4,.line.s5,.whisker{stroke:var(--s)}
.whisker,.mark{stroke-dasharray:none}
.band,.mark{fill:var(--s)}
.bar{fill:var(--c0)}.bar.cut{fill:var(--c1)}
.rule{stroke:var(--ink);stroke-width:1.2;stroke-dasharray:4 3;fill:none}
.reference{stroke:var(--soft);stroke-width:1;stroke-dasharray:3 4;fill:none}
.median{stroke:var(--ink);stroke-width:3}
figure.wide{max-width:none}svg text.halo{paint-order:stroke;stroke:var(--card);stroke-width:4}
.epoch{stroke:var(--grid);stroke-width:1;stroke-dasharray:2 3}
.matrix{width:auto;min-width:260px;border-collapse:separate;border-spacing:3px}
.matrix th{border:0;padding:4px 8px;color:var(--ink);font-size:.86rem}
.matrix th.along{color:var(--soft);font-weight:400;text-align:center}
.matrix thead th{text-align:center}
.matrix th,.matrix td{vertical-align:middle}
.matrix td{border:0;border-radius:6px;text-align:center;padding:12px 16px;min-width:92px}
.matrix td.blank{color:var(--soft);background:none}
.matrix td small{color:inherit;opacity:.85}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr));gap:18px}
.pair section{margin:0}.pair{margin:0 0 18px}
.mistake{border-top:1px solid var(--rule);padding:12px 0}
.mistake:last-child{padding-bottom:0}
.mistake p{margin:0 0 4px;white-space:pre-wrap;overflow-wrap:anywhere}
.mistake div{font-size:.86rem;color:var(--soft);font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.mistake em{font-style:normal;font-weight:600}
.mistake mark,section>p mark{color:inherit;border-radius:3px;padding:0 1px;
background:color-mix(in srgb,var(--bad) calc(var(--w)*50%),transparent)}
.mistake mark.against,section>p mark.against{background:color-mix(in srgb,var(--good) calc(var(--w)*45%),transparent)}
.gold{color:var(--good)}.wrong{color:var(--bad)}
dl{display:grid;grid-template-columns:minmax(120px,max-content) 1fr;gap:5px 20px;margin:10px 0 0;font-variant-numeric:tabular-nums;font-size:.94rem}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
details{margin-top:12px}summary{cursor:pointer;color:var(--accent);font-size:.92rem}
pre{margin:12px 0 0;padding:14px 16px;background:var(--bg);border:1px solid var(--rule);border-radius:8px;overflow-x:auto;font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
h3{font-size:.94rem;margin:20px 0 4px;font-weight:550}
footer{color:var(--soft);font-size:.84rem;text-align:center;margin-top:28px}
@media(max-width:640px){main{padding:24px 12px 40px}section{padding:18px 16px 20px}h1{font-size:1.55rem}
.numbers{grid-template-columns:1fr 1fr;gap:10px}.numbers div{padding:12px 14px}.numbers b{font-size:1.45rem}
table.cards thead{display:none}table.cards tr{display:block;padding:10px 0;border-bottom:1px solid var(--rule)}
table.cards tr:last-child{border-bottom:0}
table.cards td{display:flex;justify-content:space-between;gap:16px;border:0;padding:2px 0;text-align:right}
table.cards td::before{content:attr(data-name);color:var(--soft);font-weight:400;text-align:left}
table.cards td:first-child{display:block;text-align:left}table.cards td:first-child::before{content:none}
table.cards td.empty{display:none}
.dot{width:150px}figure svg text{font-size:14.5px}.matrix td{min-width:0;padding:10px}
dl{grid-template-columns:minmax(0,42%) 1fr;gap:6px 14px}table.cards .unit{display:inline}}
@media print{body{background:#fff}section,figure,.mistake{break-inside:avoid}main{max-width:none;padding:0}}
"#;
