"""Writes chat templates, and what `transformers` makes of them.

usage: render_templates.py OUTPUT [MODEL_FOLDER ...]

OUTPUT gets a list of {"name", "template", "variables", "text"}; instead of `text` a case that fails has `error`, and `raised`
with the message that the template itself gave.
"""

import json
import sys

import jinja2
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import _compile_jinja_template

TOOL_STYLE = """{%- set ns = namespace(last=messages|length - 1, seen=false) %}
{%- if tools %}
    {{- '<|block|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "Functions you may use:\\n<functions>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</functions>\\n<|stop|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|block|>system\\n' + messages[0].content + '<|stop|>\\n' }}
{%- endif %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if not ns.seen and message.role == "user" and message.content is string
        and not(message.content.startswith('<answer>') and message.content.endswith('</answer>')) %}
        {%- set ns.seen = true %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|block|>' + message.role + '\\n' + content + '<|stop|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set thought = '' %}
        {%- if message.thought is string %}
            {%- set thought = message.thought %}
        {%- elif '</thought>' in content %}
            {%- set thought = content.split('</thought>')[0].rstrip('\\n').split('<thought>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</thought>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or thought) %}
            {{- '<|block|>' ~ message.role ~ '\\n<thought>\\n' ~ thought.strip('\\n') ~ '\\n</thought>\\n\\n' ~ content }}
        {%- else %}
            {{- '<|block|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
                {%- if call.function %}{%- set call = call.function %}{%- endif %}
                {{- '<call>\\n{"name": "' }}
                {{- call.name }}
                {{- '", "arguments": ' }}
                {%- if call.arguments is string %}{{- call.arguments }}{%- else %}{{- call.arguments | tojson }}{%- endif %}
                {{- '}\\n</call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|stop|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|block|>user' }}{%- endif %}
        {{- '\\n<answer>\\n' }}{{- content }}{{- '\\n</answer>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|stop|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|block|>assistant\\n' }}
    {%- if thinking is defined and thinking is false %}{{- '<thought>\\n\\n</thought>\\n\\n' }}{%- endif %}
{%- endif %}
"""

HEADER_STYLE = """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not today is defined %}
    {%- set today = "1 Apr 2025" %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- The first message may be the system's. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_text = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_text = "" %}
{%- endif %}

{{- "<|head|>system<|body|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Runtime: python\\n" }}
{%- endif %}
{{- "Today: " + today + "\\n\\n" }}
{%- if tools is not none %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_text }}
{{- "<|over|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|head|>' + message['role'] + '<|body|>\\n\\n'+ message['content'] | trim + '<|over|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("Only one call at a time!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|head|>assistant<|body|>\\n\\n' -}}
        {%- for name, value in tool_call.arguments | items %}
            {{- name + '="' + (value|string) + '"' }}
            {%- if not loop.last %}{{- ", " }}{%- endif %}
        {%- endfor %}
        {{- "<|over|>" }}
    {%- elif message.role == "tool" %}
        {{- "<|head|>ipython<|body|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|over|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|head|>assistant<|body|>\\n\\n' }}
{%- endif %}
"""

TURN_STYLE = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("Turns must alternate, user first") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and tools and (message == user_messages[-1]) %}
            {{- "[TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}
                    {{- ", " }}
                {%- else %}
                    {{- "]" }}
                {%- endif %}
            {%- endfor %}
            {{- "[/TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[ASK] " + system_message + "\\n\\n" + message["content"] + "[/ASK]" }}
        {%- else %}
            {{- "[ASK] " + message["content"] + "[/ASK]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + (message["content"] or "")|trim + eos_token}}
    {%- else %}
        {{- raise_exception("Only user, assistant and system roles are supported, not " + message.role) }}
    {%- endif %}
{%- endfor %}
"""

TYPES_STYLE = """{% macro kind(schema, depth=0) -%}
{%- if schema.type == 'object' -%}
{
{%- for name, part in schema.properties.items() %}
{{ '  ' * (depth + 1) }}{{ name }}{{ '' if name in schema.get('required', []) else '?' }}: {{ kind(part, depth + 1) }},
{%- endfor %}
{{ '  ' * depth }}}
{%- elif schema.type == 'array' -%}
{{ kind(schema['items'], depth) }}[]
{%- elif schema.enum is defined -%}
{{ schema.enum | map('tojson') | join(' | ') }}
{%- else -%}
{{ schema.type | default('any', true) }}
{%- endif -%}
{%- endmacro %}
{% set body %}
Tools: {{ tools | map(attribute='function') | map(attribute='name') | join(', ') }}
{% endset %}
{{ body | trim }}
{% for tool in tools -%}
type {{ tool.function.name | capitalize }} = {{ kind(tool.function.parameters) }}
{% endfor %}
{% for message in messages if message.role != 'system' %}
  {% if message.content is string %}
    {{ message.role | upper }}: {{ message.content }}
  {% else %}
    {% for part in message.content | selectattr('type', 'equalto', 'text') %}
      {{ loop.index }}/{{ loop.length }} {{ part.text }}
    {% endfor %}
  {% endif %}
{% else %}
nobody said a thing
{% endfor %}
"""

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tells the weather; \"fair\" or <foul> & more — überall.",
            "parameters": {
                "type": "object",
                "properties": {
                    "place": {"type": "string"},
                    "unit": {"enum": ["C", "F"]},
                    "days": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
                },
                "required": ["place"],
            },
        },
    },
    {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}},
]
CALL = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "1", "type": "function", "function": {"name": "weather", "arguments": {"place": "Ulm", "days": [1, 2.5], "x": None}}}
]}
CHATS = {
    "one": [{"role": "user", "content": "Hello"}],
    "system": [{"role": "system", "content": "  Be brief. \n"}, {"role": "user", "content": "Hi\nthere 👩‍👩‍👧"}],
    "turns": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "<thought>\nhm\n</thought>\n\nb"},
        {"role": "user", "content": " c "},
    ],
    "continued": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "<thought>x</thought>b"}],
    "wrong": [{"role": "assistant", "content": "a"}],
    "role": [{"role": "user", "content": "a"}, {"role": "critic", "content": "a"}],
    "call": [{"role": "user", "content": "Weather?"}, CALL, {"role": "tool", "content": "rain"}, {"role": "tool", "content": "{}"}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image"}, {"type": "text", "text": "it"}]}],
    "only system": [{"role": "system", "content": "x"}],
}

SNIPPETS = [
    "{{ 1 }}{{ 1.0 }}{{ 1.5e3 if false else 2.50 }}{{ true }}{{ none }}{{ missing }}|{{ [1, 'a', none, {'k': \"it's\"}] }}",
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 2 * 3 + 1 }} {{ 2 - 3 - 4 }} {{ 1 ~ 2 ~ 'x' }}",
    "{{ 'a' < 'b' }} {{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ 'a' in 'bab' }} {{ 'k' in {'k': 1} }} {{ 3 not in [1] }}",
    "{{ not a }} {{ a and b }} {{ a or 'x' }} {{ not a or b }} {{ not 1 == 2 }} {{ '' or none or 'z' }}",
    "{{ 'abcdef'[1:3] }} {{ 'abcdef'[::-1] }} {{ 'abcdef'[-2:] }} {{ [1, 2, 3][:-1] }} {{ [1, 2, 3][5:] }} {{ 'abc'[9] }}!",
    "{{ x.y }}{{ x['y'] }}{{ x.items }}".replace("{{ x.items }}", "") + "{{ x['items'] }}{{ x.z is defined }}{{ x.keys() | list }}",
    "{{ ' a b '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a,b,c'.split(',') }}|{{ 'a,b,c'.split(',', 1) }}|{{ ' a  b '.split() }}",
    "{{ 'a,b,c'.rsplit(',', 1) }}|{{ 'abc'.replace('b', 'X') }}|{{ 'aXbX'.find('X') }}|{{ 'abc'.startswith(('x', 'a')) }}",
    "{{ 'hello wORLD'.title() }} {{ 'hELLO'.capitalize() }} {{ 'ß'.upper() }} {{ 'a-b'.partition('-') | list }} {{ ', '.join(['a', 'b']) }}",
    "{{ [3, 1, 2] | sort }} {{ [3, 1, 2] | first }} {{ [3, 1, 2] | last }} {{ [1, 1, 2] | unique | list }} {{ 'abc' | reverse }}",
    "{{ [1, 2, 3] | sum }} {{ [1, 2, 3] | max }} {{ [1, 2, 3] | min }} {{ -3 | abs }} {{ '42' | int + 1 }} {{ 'x' | int(7) }} {{ '1.5' | float }}",
    "{{ [1, 2, 3, 4] | select('even') | list }} {{ [1, 2, 3] | reject('odd') | list }} {{ ['a', ''] | select | list }}",
    "{{ ({'b': 1, 'a': 2} | dictsort)[0] | join }} {{ {'b': 1} | items | map('join') | list }} {{ {'b': 1, 'a': [true, none]} | tojson }} {{ 'é\"\\n' | tojson }}",
    "{{ {'b': 1, 'a': {}} | tojson(indent=2) }} {{ [[], [1]] | tojson(indent=2) }} {{ {'b': 1, 'a': 'é😀'} | tojson(sort_keys=true, ensure_ascii=true) }}",
    "{{ [1, 2] | tojson(separators=(',', ':')) }} {{ 1e2 | tojson if false else 'n' }} {{ 0.1 | tojson }} {{ 100000000000000000.0 }} {{ 0.00001 }}",
    "{{ 'a' | default('b') }} {{ missing | default('b') }} {{ '' | default('b', true) }} {{ none | d('b', boolean=true) }} {{ missing | length }}",
    "{{ 'line\nline\n\nline' | indent }} {{ 'a\nb' | indent(2, true) }} {{ '  x ' | trim }} {{ 'xax' | trim('x') }}",
    "{% for i in range(3) %}{{ i }}{% if i == 1 %}{% continue %}{% endif %}-{% endfor %} {% for i in range(9, 0, -4) %}{{ i }}{% if i < 6 %}{% break %}{% endif %}{% endfor %}",
    "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{{ loop.first }}{{ loop.last }}{{ loop.revindex }} {% endfor %}{% for c in 'añ' %}{{ c }}.{% endfor %}",
    "{% for a in [1, 2, 3] %}{{ loop.previtem }}<{{ a }}>{{ loop.nextitem }} {{ loop.cycle('odd', 'even') }} {% else %}none{% endfor %}{% for a in [] %}x{% else %}none{% endfor %}",
    "{% set x = 1 %}{% for a in [1] %}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}{% if true %}{% set x = 3 %}{% endif %}{{ x }}",
    "{% set a, b = [1, 2] %}{{ a }}{{ b }}{% set ns = namespace(x=1, y='z') %}{% for i in [1, 2] %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.y }}",
    "{% macro m(a, b='B') %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{% set c = 'C' %}{{ m('A') }}{{ m('A', b='X') }}{{ m() }}",
    "{% set t %}  text {{ 1 + 1 }}\n{% endset %}<{{ t }}>{{ t | length }}",
    "  {% if true %}\n  yes\n  {% endif %}\nend\n\n",
    "a  {%- if true -%}  b  {%- endif -%}  c {{- ' d ' -}} e",
    "a\n   {#- gone -#}   b {# x #}\nc\n  {# y #}\nd",
    "x {%+ if true %}y{% endif +%}\n z\n\t{% set q = 1 %}\n{{ q }}\n",
    "{{ 'a' if false }}|{{ 'a' if x is mapping else 'b' }}|{{ 1 if a else 2 if b else 3 }}|{{ (1, 2) | list }}|{{ [] }}{{ {} }}",
    "{{ x is defined }} {{ a is none }} {{ 'a' is string }} {{ 1 is number }} {{ 1.5 is float }} {{ [] is iterable }} {{ 'a' is sequence }} {{ true is boolean }} {{ 3 is odd }} {{ 4 is divisibleby 2 }} {{ 1 is eq 1 }} {{ 1 is not none }} {{ 'a' is in ['a'] }}",
    "{{ missing.x }}",
    "{{ none + 'a' }}",
    "{{ 1 < 'a' }}",
    "{{ missing() }}",
    "{{ raise_exception('no ' ~ 1) }}",
    "{{ 1 // 0 }}",
    "{{ [1] | tojson ~ missing }}{{ 'tail' }}",
    "{{ messages[0].content[0].text }}{{ messages[-1]['role'] }}{{ messages | length }}{{ messages | map(attribute='role') | list }}",
    "{{ '%d' }}{{ \"a\\tb\\\\n\" }}{{ 'joined ' 'strings' }}{{ '\\u00e9' }}",
    "{% generation %}made{% endgeneration %} {{ 'é' == 'e\u0301' }} {{ 'e\u0301' | length }} {{ '👩‍👩‍👧' | length }} {{ 'x\r\ny' }}",
    "{{ x.get('y') }}{{ x.get('q') }}{{ x.get('q', 5) }}{{ x.values() | list }} {{ 'abc'.count('b') }} {{ 'a b'.isupper() }} {{ '12'.isdigit() }}",
    "{{ 'prefix-a'.removeprefix('prefix-') }}{{ 'a\nb\n'.splitlines() }}{{ messages | selectattr('role', 'ne', 'system') | list | length }}",
    "{{ messages | rejectattr('name') | map(attribute='content') | join(',') }} {{ 'a' ~ [1] ~ {'b': none} ~ true }}",
]


def result(template, variables):
    try:
        return {"text": _compile_jinja_template(template).render(**variables)}
    except jinja2.exceptions.UndefinedError as error:
        return {"error": str(error)}
    except jinja2.exceptions.TemplateSyntaxError:
        raise
    except jinja2.exceptions.TemplateError as error:
        return {"error": str(error), "raised": str(error)}
    except (TypeError, ZeroDivisionError) as error:
        return {"error": str(error)}


def cases(models):
    styles = {"tool": TOOL_STYLE, "header": HEADER_STYLE, "turn": TURN_STYLE, "types": TYPES_STYLE}
    for style, template in styles.items():
        for chat, messages in CHATS.items():
            for tools in [None, TOOLS]:
                if style == "types" and (tools is None):
                    continue
                variables = {
                    "messages": messages, "tools": tools, "add_generation_prompt": chat != "turns",
                    "bos_token": "<s>", "eos_token": "</s>",
                }
                if chat == "one":
                    variables["thinking"] = False
                name = f"{style} {chat} {'tools' if tools else 'plain'}"
                yield {"name": name, "template": template, "variables": variables, **result(template, variables)}
    variables = {
        "x": {"y": 1, "items": "it"}, "a": None, "b": "B",
        "messages": CHATS["parts"] + CHATS["system"],
    }
    for snippet in SNIPPETS:
        yield {"name": snippet, "template": snippet, "variables": variables, **result(snippet, variables)}
    for path in models:
        tokenizer = AutoTokenizer.from_pretrained(path)
        for chat in ["one", "system", "turns"]:
            for prompt in [False, True]:
                variables = {
                    "messages": CHATS[chat], "tools": None, "documents": None, "add_generation_prompt": prompt,
                    "bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token,
                }
                text = tokenizer.apply_chat_template(CHATS[chat], tokenize=False, add_generation_prompt=prompt)
                name = f"{path} {chat} {prompt}"
                yield {"name": name, "template": tokenizer.chat_template, "variables": variables, "text": text}


with open(sys.argv[1], "w") as output:
    json.dump(list(cases(sys.argv[2:])), output)
