"""Lists drawn as HTML whose entries can be picked: any element with `data-pick` selects that value."""

PICK = """
element.addEventListener('click', (event) => {
    const entry = event.target.closest('[data-pick]');
    if (entry) trigger('select', {index: entry.dataset.pick, value: entry.dataset.pick});
});
"""
