-- Questions may ask for a decision: a design, the next step, a review, an order, a cost, or what evidence shows.

ALTER TABLE questions DROP CONSTRAINT questions_form_check;
ALTER TABLE questions ADD CONSTRAINT questions_form_check CHECK (form IN
    ('practical', 'definition', 'choose', 'next_step', 'code_review', 'order', 'cost', 'read'));
