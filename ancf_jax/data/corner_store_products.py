"""The assortment of the built-in corner store: invented data, made up to look like a real shop's.

Nothing here was measured. Products have names a shopper would recognise, so that a person can judge
a list of recommendations; the figures say when each category is wanted, in log units of demand.
"""

from __future__ import annotations

from typing import NamedTuple


class Category(NamedTuple):
    """A shelf: when it is wanted (keys of DAILY, WEEKLY, SEASONAL), how much, and what goes with it."""

    name: str
    department: str
    daily: str
    weekly: str
    season: str
    pull: float  # log demand beside the other categories
    then: tuple[str, ...]  # categories wanted more within the visit once this one is in the basket
    tag: str  # key of REFUSAL, or "" where everybody may buy
    products: str  # names, separated by "; "


# Bumps of log demand over the day: (hour of the peak, width in hours, height).
DAILY = {
    "morning": ((8.0, 1.5, 4.0),),
    "tea": ((8.5, 1.6, 2.0), (16.0, 1.5, 1.6)),
    "breakfast": ((8.5, 2.0, 2.2),),
    "noon": ((12.5, 1.3, 4.0),),
    "afternoon": ((15.5, 2.0, 2.2),),
    "dinner": ((18.5, 1.8, 2.6),),
    "evening": ((19.5, 1.8, 3.6),),
    "late": ((21.0, 2.2, 2.6),),
    "all day": (),
}
# Log demand from Monday to Sunday.
WEEKLY = {
    "even": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "workday": (0.3, 0.3, 0.3, 0.3, 0.2, -0.7, -0.8),
    "friday": (-1.0, -0.9, -0.6, 0.3, 1.9, 1.3, -0.4),
    "weekend": (-0.4, -0.4, -0.4, -0.3, 0.1, 1.2, 1.3),
}
# A bump of log demand over the year: (day of the peak, width in days, height).
SEASONAL = {
    "even": (0, 1, 0.0),
    "summer": (200, 35, 3.6),
    "warm": (200, 55, 1.4),
    "winter": (15, 35, 3.4),
    "cool": (15, 60, 1.0),
    "december": (350, 13, 4.5),
    "spring": (120, 25, 2.6),
    "autumn": (295, 22, 3.0),
}
# Share of shoppers who never buy products with this tag.
REFUSAL = {"meat": 0.14, "alcohol": 0.25, "dog": 0.7, "cat": 0.75, "baby": 0.88}

CAFE, TO_GO, COLD, BAR, SNACKS = "Café & bakery", "Food to go", "Cold drinks", "Beer & wine", "Snacks & sweets"
FROZEN, GROCERY, HEALTH, HOME, NEWS = "Frozen", "Grocery", "Health & care", "Household, pets & baby", "News & gifts"

# fmt: off
CATEGORIES = (
    Category("Coffee", CAFE, "morning", "workday", "cool", 1.2, ("Pastry", "Bread & bagels"), "",
             "Flat white, 12 oz; House coffee, 12 oz; Latte, 12 oz; Cappuccino, 8 oz; Americano, 16 oz; "
             "Espresso, double; Oat flat white, 12 oz; Decaf latte, 12 oz; Pumpkin spice latte, 12 oz"),
    Category("Tea & cocoa", CAFE, "tea", "even", "winter", -0.5, ("Cookies", "Pastry"), "",
             "Breakfast tea, 12 oz; Earl Grey, 12 oz; Mint tea, 12 oz; Hot chocolate, 12 oz; Chai latte, 12 oz; "
             "Hot chocolate mix; Ginger lemon tea bags"),
    Category("Pastry", CAFE, "morning", "even", "even", 0.7, ("Coffee",), "",
             "Butter croissant; Almond croissant; Cinnamon roll; Blueberry muffin; Glazed doughnut; "
             "Chocolate doughnut; Apple turnover; Pistachio croissant"),
    Category("Bread & bagels", CAFE, "breakfast", "weekend", "even", -0.2, ("Milk & eggs", "Cheese & deli"), "",
             "Sourdough loaf; Whole wheat loaf; Sesame bagel; Everything bagel; Baguette; Soft white rolls; "
             "Pita bread"),
    Category("Breakfast sandwiches", CAFE, "morning", "workday", "even", -0.4, ("Coffee", "Juice & smoothies"), "",
             "Bacon and egg roll; Sausage and egg muffin; Egg and cheese bagel; Spinach and feta wrap; "
             "Avocado toast box"),
    Category("Sandwiches & wraps", TO_GO, "noon", "workday", "even", 0.9, ("Chips", "Cola", "Water"), "",
             "Turkey club sandwich; Ham and cheese baguette; Tuna melt; Egg salad sandwich; Falafel wrap; "
             "Chicken Caesar wrap; Mozzarella and tomato panini; BLT sandwich; Hummus and veggie wrap"),
    Category("Salads & sushi", TO_GO, "noon", "workday", "warm", -0.5, ("Water", "Iced coffee & tea"), "",
             "Greek salad; Chicken Caesar salad; Quinoa bowl; Salmon sushi box; Avocado maki; Fruit salad cup; "
             "Poke bowl"),
    Category("Pizza", TO_GO, "evening", "friday", "even", 0.9, ("Beer", "Cola", "Ice cream"), "",
             "Pepperoni pizza; Margherita pizza; Four cheese pizza; Ham and pineapple pizza; Veggie supreme pizza; "
             "Pizza slice, cheese; Barbecue chicken pizza; Garlic bread"),
    Category("Hot bites", TO_GO, "late", "friday", "even", -0.3, ("Beer", "Soft drinks"), "",
             "Hot dog; Chicken wings, 8 pieces; Mozzarella sticks; Veggie samosa; Sausage roll; "
             "French fries, large; Nachos with cheese"),
    Category("Soup", TO_GO, "noon", "workday", "winter", -0.3, ("Bread & bagels",), "",
             "Tomato soup, 12 oz; Chicken noodle soup, 12 oz; Lentil soup, 12 oz; Ramen cup; Clam chowder, 12 oz"),
    Category("Cola", COLD, "afternoon", "even", "warm", 0.5, ("Chips", "Candy & gum"), "",
             "Cola, 12 oz can; Cola, 2 l bottle; Diet cola, 12 oz can; Cola zero, 20 oz; Cherry cola, 20 oz; "
             "Cola six-pack"),
    Category("Soft drinks", COLD, "afternoon", "even", "warm", -0.9, ("Chips", "Cookies"), "",
             "Lemonade, 20 oz; Orange soda, 12 oz can; Ginger ale, 12 oz can; Root beer, 20 oz; Tonic water, 1 l; "
             "Elderflower soda; Alcohol-free lager"),
    Category("Water", COLD, "noon", "workday", "warm", -0.7, (), "",
             "Spring water, 20 oz; Spring water, 1.5 l; Sparkling water, 20 oz; Lime sparkling water; "
             "Coconut water; Peach flavoured water"),
    Category("Juice & smoothies", COLD, "breakfast", "even", "even", -0.3, ("Pastry",), "",
             "Orange juice, 12 oz; Apple juice, 12 oz; Mango smoothie; Green smoothie; Berry smoothie; "
             "Carrot ginger shot"),
    Category("Iced coffee & tea", COLD, "afternoon", "even", "summer", -0.8, ("Cookies",), "",
             "Iced latte, 16 oz; Cold brew, 12 oz; Peach iced tea; Lemon iced tea; Iced matcha, 16 oz; "
             "Iced caramel macchiato"),
    Category("Energy drinks", COLD, "late", "even", "even", -0.5, ("Protein & nuts",), "",
             "Volt energy, 16 oz; Volt sugar-free, 16 oz; Thunder citrus energy; Guarana boost; Sports drink, blue; "
             "Sports drink, orange"),
    Category("Beer", BAR, "evening", "friday", "warm", 0.8, ("Chips", "Pizza", "Hot bites"), "alcohol",
             "Lager six-pack; Pale ale six-pack; IPA four-pack; Wheat beer, 16 oz; Light beer twelve-pack; "
             "Stout four-pack; Pilsner, 16 oz; Hazy IPA four-pack"),
    Category("Cider & seltzer", BAR, "evening", "friday", "summer", -1.4, ("Chips",), "alcohol",
             "Dry cider four-pack; Pear cider, 16 oz; Lime hard seltzer; Mango hard seltzer; Gin and tonic can; "
             "Spritz can"),
    Category("Wine", BAR, "dinner", "friday", "cool", -0.8, ("Cheese & deli", "Chocolate"), "alcohol",
             "Pinot noir; Cabernet sauvignon; Sauvignon blanc; Rosé; Prosecco; Mulled wine"),
    Category("Chips", SNACKS, "evening", "friday", "even", 0.3, ("Dips & salsa", "Cola"), "",
             "Sea salt chips; Sour cream chips; Barbecue chips; Tortilla chips; Chili lime tortilla chips; "
             "Cheese puffs; Salted popcorn; Salt and vinegar chips"),
    Category("Dips & salsa", SNACKS, "evening", "friday", "even", -1.0, ("Chips",), "",
             "Tomato salsa, medium; Guacamole; Hummus; Queso dip; French onion dip"),
    Category("Protein & nuts", SNACKS, "afternoon", "workday", "even", -0.8, ("Water",), "",
             "Roasted almonds; Trail mix; Salted peanuts; Peanut protein bar; Chocolate protein bar; Beef jerky; "
             "Oat bar; Pistachios"),
    Category("Chocolate", SNACKS, "late", "even", "cool", -0.2, ("Milk & eggs",), "",
             "Milk chocolate bar; Dark chocolate bar; Hazelnut chocolate bar; Caramel wafer bar; "
             "Peanut butter cups; Sea salt caramel bar; Chocolate truffles box"),
    Category("Candy & gum", SNACKS, "afternoon", "even", "even", -0.4, (), "",
             "Peppermint gum; Gummy bears; Sour worms; Licorice; Fruit chews; Breath mints; Halloween candy bag; "
             "Candy canes"),
    Category("Cookies", SNACKS, "afternoon", "even", "even", -0.8, ("Milk & eggs", "Tea & cocoa"), "",
             "Chocolate chip cookies; Sandwich cookies; Oatmeal raisin cookies; Shortbread; Gingerbread cookies; "
             "Brownie"),
    Category("Ice cream", FROZEN, "late", "weekend", "summer", -0.3, ("Cookies",), "",
             "Vanilla ice cream tub; Chocolate ice cream tub; Strawberry ice cream tub; Cookie dough ice cream tub; "
             "Mint chip ice cream tub; Coconut sorbet tub"),
    Category("Ice lollies", FROZEN, "afternoon", "weekend", "summer", -0.9, ("Water",), "",
             "Strawberry ice lolly; Lemon ice lolly; Ice cream sandwich; Chocolate-coated ice cream bar; "
             "Ice cream cone; Mango sorbet bar"),
    Category("Frozen meals", FROZEN, "dinner", "workday", "even", -0.4, ("Ice cream",), "",
             "Frozen lasagne; Frozen mac and cheese; Chicken curry ready meal; Veggie burgers; Fish fingers; "
             "Frozen pepperoni pizza; Frozen dumplings; Frozen peas"),
    Category("Milk & eggs", GROCERY, "breakfast", "even", "even", 0.2, ("Cereal", "Bread & bagels"), "",
             "Whole milk, half gallon; Skimmed milk, half gallon; Oat milk; Eggs, dozen; Salted butter; "
             "Half and half; Almond milk"),
    Category("Yogurt", GROCERY, "breakfast", "even", "even", -0.6, ("Cereal", "Fruit"), "",
             "Greek yogurt; Strawberry yogurt; Skyr, vanilla; Coconut yogurt; Drinking yogurt, peach"),
    Category("Cheese & deli", GROCERY, "dinner", "weekend", "even", -0.9, ("Wine", "Bread & bagels"), "",
             "Cheddar block; Sliced Swiss; Fresh mozzarella; Cream cheese; Sliced ham; Salami; "
             "Smoked turkey slices; Firm tofu"),
    Category("Fruit", GROCERY, "all day", "even", "warm", 0.9, ("Yogurt",), "",
             "Bananas; Apples, bag; Oranges; Grapes; Strawberries; Lemons; Watermelon slice; Clementines"),
    Category("Vegetables", GROCERY, "dinner", "even", "even", -0.9, ("Pasta & rice", "Pasta sauce"), "",
             "Tomatoes; Bag salad; Carrots; Onions; Potatoes; Broccoli; Mushrooms; Avocado"),
    Category("Pasta & rice", GROCERY, "dinner", "workday", "even", -0.9, ("Pasta sauce", "Vegetables"), "",
             "Spaghetti; Penne; Fresh tortellini; Jasmine rice; Instant noodles; Couscous"),
    Category("Pasta sauce", GROCERY, "dinner", "workday", "even", -1.1, ("Pasta & rice", "Cheese & deli"), "",
             "Marinara sauce; Basil pesto; Bolognese sauce; Alfredo sauce; Arrabbiata sauce"),
    Category("Cereal", GROCERY, "breakfast", "weekend", "even", -0.8, ("Milk & eggs",), "",
             "Corn flakes; Granola; Porridge oats; Honey hoops; Raisin bran; Pancake mix"),
    Category("Cough & cold", HEALTH, "all day", "even", "winter", -0.4, ("Tea & cocoa",), "",
             "Cough drops; Cold and flu capsules; Tissues, pocket pack; Throat spray; Vitamin C tablets"),
    Category("Pain & allergy", HEALTH, "all day", "even", "spring", -1.2, (), "",
             "Ibuprofen; Paracetamol; Allergy tablets; Nasal spray; Antacid tablets; Eye drops"),
    Category("Sun & insects", HEALTH, "all day", "weekend", "summer", -0.8, ("Water", "Ice lollies"), "",
             "Sunscreen, SPF 30; Sunscreen, SPF 50; After-sun lotion; Insect repellent; Sunglasses"),
    Category("Toiletries", HEALTH, "all day", "even", "even", -0.5, (), "",
             "Toothpaste; Toothbrush; Shampoo; Deodorant; Razors; Hand soap; Lip balm; Tampons"),
    Category("Cleaning & paper", HOME, "all day", "weekend", "even", -0.4, (), "",
             "Toilet paper, 6 rolls; Paper towels; Dish soap; Laundry detergent; Trash bags; Sponges; AA batteries; "
             "Light bulb"),
    Category("Autumn specials", HOME, "morning", "even", "autumn", -2.6, ("Coffee",), "",
             "Umbrella; Rain poncho; Knit gloves; Hand warmers"),
    Category("Dog", HOME, "dinner", "weekend", "even", 0.0, (), "dog",
             "Dog food, beef; Dog food, chicken; Dog biscuits; Chew sticks; Waste bags"),
    Category("Cat", HOME, "dinner", "weekend", "even", 0.0, (), "cat",
             "Cat food, tuna; Cat food, chicken; Cat litter; Cat treats; Kitten milk"),
    Category("Baby", HOME, "all day", "even", "even", 0.8, (), "baby",
             "Diapers; Baby wipes; Apple baby puree; Carrot baby puree; Infant formula; Teething biscuits"),
    Category("Newspapers", NEWS, "breakfast", "weekend", "even", -0.3, ("Coffee", "Pastry"), "",
             "Morning Herald; City Times; Sunday Courier; Sports Daily; Crossword weekly; Home and garden magazine"),
    Category("Gifts & holidays", NEWS, "afternoon", "weekend", "december", -0.9, ("Chocolate",), "",
             "Gift wrap; Christmas ornaments; Gift card, $25; Scented candle; Advent calendar; Stuffed bear; "
             "Birthday card"),
    Category("Flowers & grill", NEWS, "afternoon", "weekend", "warm", -1.4, ("Wine",), "",
             "Tulips, bunch; Roses, dozen; Mixed bouquet; Charcoal, 5 kg; Ice cubes, bag; Firelighters"),
)
# fmt: on

# Products that stand on a second shelf as well.
ALSO_IN = {
    "Iced latte, 16 oz": "Coffee",
    "Cold brew, 12 oz": "Coffee",
    "Iced caramel macchiato": "Coffee",
    "Peach iced tea": "Soft drinks",
    "Lemon iced tea": "Soft drinks",
    "Pumpkin spice latte, 12 oz": "Autumn specials",
    "Hot chocolate mix": "Chocolate",
    "Ginger lemon tea bags": "Cough & cold",
    "Alcohol-free lager": "Beer",
    "Fruit salad cup": "Fruit",
    "Frozen pepperoni pizza": "Pizza",
    "Pizza slice, cheese": "Hot bites",
    "Hummus": "Cheese & deli",
    "Ramen cup": "Pasta & rice",
    "Ice cream sandwich": "Ice cream",
    "Chocolate truffles box": "Gifts & holidays",
    "Candy canes": "Gifts & holidays",
    "Gingerbread cookies": "Gifts & holidays",
    "Halloween candy bag": "Autumn specials",
    "Mulled wine": "Gifts & holidays",
    "Drinking yogurt, peach": "Juice & smoothies",
    "Knit gloves": "Gifts & holidays",
    "Lip balm": "Sun & insects",
}
# Day of the year on which a product first stands on the shelf; the others were always there.
LAUNCH_DAY = {
    "Pistachio croissant": 45,
    "Green smoothie": 60,
    "Coconut yogurt": 75,
    "Falafel wrap": 90,
    "Volt sugar-free, 16 oz": 100,
    "Mango hard seltzer": 110,
    "Spritz can": 120,
    "Iced matcha, 16 oz": 125,
    "Mango sorbet bar": 135,
    "Poke bowl": 150,
    "Coconut sorbet tub": 160,
    "Elderflower soda": 170,
    "Peanut protein bar": 180,
    "Hazy IPA four-pack": 190,
    "Chili lime tortilla chips": 205,
    "Barbecue chicken pizza": 215,
    "Oat flat white, 12 oz": 225,
    "Sea salt caramel bar": 240,
    "Pumpkin spice latte, 12 oz": 244,
    "Frozen dumplings": 255,
    "Halloween candy bag": 265,
    "Carrot ginger shot": 275,
    "Mulled wine": 305,
    "Advent calendar": 310,
}
# What a vegetarian leaves on the shelf.
MEAT = (
    "Bacon and egg roll; Sausage and egg muffin; Turkey club sandwich; Ham and cheese baguette; Tuna melt; "
    "Chicken Caesar wrap; BLT sandwich; Chicken Caesar salad; Salmon sushi box; Poke bowl; Pepperoni pizza; "
    "Ham and pineapple pizza; Barbecue chicken pizza; Hot dog; Chicken wings, 8 pieces; Sausage roll; "
    "Chicken noodle soup, 12 oz; Clam chowder, 12 oz; Beef jerky; Frozen lasagne; Chicken curry ready meal; "
    "Fish fingers; Frozen pepperoni pizza; Frozen dumplings; Sliced ham; Salami; Smoked turkey slices; "
    "Bolognese sauce; Gummy bears"
)
