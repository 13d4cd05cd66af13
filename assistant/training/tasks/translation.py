"""Translation between two languages that a record names."""

from __future__ import annotations

from assistant.messages import PromptTemplate
from assistant.training.tasks.task import Kind, Task, each, words_missing

SENTENCE = Kind(
    name="translation",
    fields=("text", "translation", "to"),
    check=lambda r: words_missing(r, "text", "translation", "to"),
    forms=(
        lambda r: f"Translate to {r['to']}: {r['text']}",
        lambda r: f"{r['text']}\n\nIn {r['to']}, please.",
        lambda r: f"How do you say this in {r['to']}? {r['text']}",
    ),
    instructions=(
        lambda r: f"Translate this text to {r['to']}.\n\n{r['text']}",
        lambda r: f"{r['text']}\n\nTranslate the text above to {r['to']}.",
    ),
    answers=each(lambda r: r["translation"].strip()),
)

TRANSLATION = Task(
    name="translation",
    description="Translates a text from one language to another.",
    kinds=(SENTENCE,),
    template=PromptTemplate(system="You translate texts.", single_turn=True),
    card_examples=(
        "What is the Spanish for 'my suitcase is missing'?",
        "Translate this message to my landlord into Turkish: The tap in the kitchen drips.",
        "How would you write 'best wishes' in Chinese?",
        "I do not understand this, can you give it to me in English? Il pleut depuis ce matin.",
        "In Swedish please: how much does the coffee cost?",
        "Japanese translation of: I am sorry for the delay",
        '¿Cómo se dice "see you soon" en español?',
        "Translate to French: The window is open.",
        "Translate this sentence into Spanish: We will arrive tomorrow evening.",
        "How do you say good night in Italian?",
        "What does 'guten Appetit' mean in English?",
        "Please translate the following text to English.\n\nLe chat dort sur la chaise.",
        "Put this into German: I have lost my umbrella.",
        "English to Dutch: Where can I buy stamps?",
        "I need a Polish translation of this letter: Thank you for your kind visit.",
        "Say this in Portuguese: see you next week",
        "What is the Danish word for bread?",
        "Traduis en anglais : il fait froid ce matin",
        "Give me the English version of this: Wo ist der Bahnhof?",
    ),
    decoding={"temperature": 0, "max_tokens": 256},
    soft_prompt_text="Translate the text into the language that is asked for and write nothing else.",
)
